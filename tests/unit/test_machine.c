#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "mr/machine.h"

/* Limits of control groups, from trees of files that look like them. */

static char folder[256];

/* Write a file below the folder, and the folders that it is in. */
static void put(const char *name, const char *text)
{
    char path[5000];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *p = path + strlen(folder) + 1; *p != '\0'; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        (void)mkdir(path, 0777);
        *p = '/';
    }
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static struct mr_limits find(const char *membership)
{
    char path[300], root[300];
    struct mr_limits limits = {7, 7};

    put("membership", membership);
    snprintf(path, sizeof path, "%s/membership", folder);
    snprintf(root, sizeof root, "%s/root", folder);
    mr_limits_find(path, root, &limits);
    return limits;
}

static void expect(const char *membership, unsigned processors, uint64_t memory)
{
    struct mr_limits limits = find(membership);

    assert_int_equal(limits.processors, processors);
    assert_int_equal(limits.memory, memory);
}

static void nothing_is_no_limit(void **state)
{
    struct mr_limits limits = {7, 7};

    (void)state;
    mr_limits_find("/nowhere/membership", "/nowhere", &limits);
    assert_int_equal(limits.processors, UINT_MAX);
    assert_true(limits.memory == UINT64_MAX);
    expect("", UINT_MAX, UINT64_MAX);
    expect("0::/\n", UINT_MAX, UINT64_MAX);
    expect("0::/none/such\n4:memory:/none\n", UINT_MAX, UINT64_MAX);
}

static void the_least_limit_counts(void **state)
{
    (void)state;
    put("root/a/cpu.max", "max 100000\n");
    put("root/a/memory.max", "max\n");
    expect("0::/a\n", UINT_MAX, UINT64_MAX);
    put("root/a/b/cpu.max", "250000 100000\n");
    put("root/a/b/memory.max", "1000000\n");
    expect("0::/a/b\n", 3, 1000000);
    expect("0::/a/b/\n", 3, 1000000);
    expect("0::/a/b/none\n", 3, 1000000);
    expect("0::/a\n", UINT_MAX, UINT64_MAX);
    /* A group above it has more, or less. */
    put("root/a/cpu.max", "900000 100000\n");
    put("root/a/memory.max", "1000001\n");
    expect("0::/a/b\n", 3, 1000000);
    put("root/a/cpu.max", "200000 100000\n");
    put("root/a/memory.max", "999999\n");
    expect("0::/a/b\n", 2, 999999);
    /* One below it does not matter. */
    put("root/a/b/c/cpu.max", "1 100000\n");
    expect("0::/a/b\n", 2, 999999);
    expect("0::/a/b/c\n", 1, 999999);
    expect("0::/a/bc\n", 2, 999999);
}

/* In a container the mount may be the group, and the path that of the host. */
static void the_mount_itself_counts(void **state)
{
    (void)state;
    put("root/cpu.max", "50000 100000\n");
    put("root/memory.max", "4096\n");
    expect("0::/\n", 1, 4096);
    expect("0::/kubepods/pod1\n", 1, 4096);
    expect("0::/../../a/b\n", 1, 4096);
    put("root/memory.max", "max\n");
    put("outside/memory.max", "4096\n");
    expect("0::/../outside\n", 1, UINT64_MAX);
}

static void version_1_counts(void **state)
{
    (void)state;
    put("root/cpu/d/cpu.cfs_quota_us", "-1\n");
    put("root/cpu/d/cpu.cfs_period_us", "100000\n");
    put("root/memory/d/memory.limit_in_bytes", "9223372036854771712\n");
    expect("5:cpu,cpuacct:/d\n4:memory:/d\n", UINT_MAX, UINT64_MAX);
    put("root/cpu/d/cpu.cfs_quota_us", "400000\n");
    put("root/memory/memory.limit_in_bytes", "2000000\n");
    expect("5:cpuacct,cpu:/d\n4:memory:/d\n0::/\n", 4, 2000000);
    expect("5:cpuacct,cpuset:/d\n4:hugetlb,memory:/d\n", UINT_MAX, 2000000);
}

static void nonsense_is_no_limit(void **state)
{
    static const char *const numbers[] = {"", "\n", "0 100000\n", "100000\n",
        "100000 0\n", "100000 max\n", "-5 100000\n", "x",
        "99999999999999999999 100000\n", "+1 1\n"};
    static const char *const lines[] = {"0", "0:", "::", ":", "a:b",
        "0::relative\n", "\n\n", "0:cpu", "0:,,:/a"};
    char *longest = calloc(1, 20000);

    (void)state;
    assert_non_null(longest);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        put("root/a/cpu.max", numbers[i]);
        put("root/a/memory.max", i < 3 ? numbers[i] : "max");
        expect("0::/a\n", UINT_MAX, UINT64_MAX);
    }
    put("root/a/cpu.max", "100000 100000\n");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        expect(lines[i], UINT_MAX, UINT64_MAX);
    memcpy(longest, "0::/", 4);
    memset(longest + 4, 'x', 10000);
    expect(longest, UINT_MAX, UINT64_MAX);
    strcat(longest, "\n1:cpu:/\n0::/a\n");
    expect(longest, 1, UINT64_MAX);
    free(longest);
}

static void the_machine_has_something(void **state)
{
    (void)state;
    assert_in_range(mr_machine_processors(), 1, 100000);
    assert_true(mr_machine_memory() > 1 << 20);
    assert_true(mr_machine_memory() < UINT64_MAX);
}

static int make_folder(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(
        folder, sizeof folder, "%s/mr-machine-XXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    char command[300];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_no_limit),
        TEST(the_least_limit_counts),
        TEST(the_mount_itself_counts),
        TEST(version_1_counts),
        TEST(nonsense_is_no_limit),
        TEST(the_machine_has_something),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
