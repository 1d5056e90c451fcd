#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "mr/spec_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <yaml.h>

/*
 * A YAML document as a tree.  Anchors, aliases, tags and further documents
 * are refused, because a file that says something other than it seems to say
 * is worse than none.
 */

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* holds the event last read */
    struct mr_yaml *yaml;
    size_t n_values;
    struct mr_error *err;
};

static enum mr_status fail_at(
    struct reader *r, yaml_mark_t mark, const char *advice, const char *cause)
{
    return mr_fail(r->err, MR_USAGE, MR_NOWHERE, advice,
        "line %zu, column %zu: %s", mark.line + 1, mark.column + 1, cause);
}

enum mr_status mr_yaml_fail(struct mr_error *err,
    const struct mr_yaml_node *node, const char *advice, const char *cause, ...)
{
    char text[256];
    va_list args;

    va_start(args, cause);
    vsnprintf(text, sizeof(text), cause, args);
    va_end(args);
    return mr_fail(err, MR_USAGE, MR_NOWHERE, advice, "line %u, column %u: %s",
        node->line, node->column, text);
}

/* Read the next event into r->event. */
static enum mr_status next_event(struct reader *r)
{
    char cause[160];

    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event))
        return MR_OK;
    memset(&r->event, 0, sizeof(r->event));
    if (r->parser.error == YAML_MEMORY_ERROR)
        return mr_fail_nomem(r->err);
    if (r->parser.error == YAML_READER_ERROR)
        return mr_fail(r->err, MR_USAGE, r->parser.problem_offset,
            "save the file as UTF-8", "not YAML: %s", r->parser.problem);
    snprintf(cause, sizeof(cause), "not YAML: %s",
        r->parser.problem ? r->parser.problem : "syntax error");
    return fail_at(r, r->parser.problem_mark, NULL, cause);
}

/* The next event must be of this type. */
static enum mr_status expect(
    struct reader *r, yaml_event_type_t type, const char *otherwise)
{
    enum mr_status status = next_event(r);

    if (status == MR_OK && r->event.type != type)
        status = fail_at(r, r->event.start_mark,
            "write one 'key: value' line for each setting", otherwise);
    return status;
}

static enum mr_status check_event(struct reader *r)
{
    const yaml_event_t *e = &r->event;
    bool marked = false;

    if (e->type == YAML_ALIAS_EVENT)
        return fail_at(r, e->start_mark, "write the value out",
            "aliases are not used in a spec");
    if (e->type == YAML_SCALAR_EVENT)
        marked = e->data.scalar.anchor || e->data.scalar.tag;
    else if (e->type == YAML_SEQUENCE_START_EVENT)
        marked = e->data.sequence_start.anchor || e->data.sequence_start.tag;
    else if (e->type == YAML_MAPPING_START_EVENT)
        marked = e->data.mapping_start.anchor || e->data.mapping_start.tag;
    if (marked)
        return fail_at(r, e->start_mark, "leave it out",
            "anchors and tags are not used in a spec");
    if (++r->n_values > MR_YAML_VALUES)
        return fail_at(
            r, e->start_mark, NULL, "too many values; that is no spec");
    return MR_OK;
}

/* Make a node of the event. */
static struct mr_yaml_node *new_node(struct reader *r)
{
    struct mr_yaml_node *node = calloc(1, sizeof(*node));

    if (!node)
        return NULL;
    node->older = r->yaml->newest;
    r->yaml->newest = node;
    node->line = (unsigned)r->event.start_mark.line + 1;
    node->column = (unsigned)r->event.start_mark.column + 1;
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        node->kind = MR_YAML_SCALAR;
        node->plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        node->n = r->event.data.scalar.length;
        node->text = calloc(1, node->n + 1);
        if (!node->text)
            return NULL;
        memcpy(node->text, r->event.data.scalar.value, node->n);
        break;
    case YAML_SEQUENCE_START_EVENT:
        node->kind = MR_YAML_LIST;
        break;
    default:
        node->kind = MR_YAML_MAPPING;
        break;
    }
    return node;
}

static void append(struct mr_yaml_node *to, struct mr_yaml_node *child)
{
    if (to->last)
        to->last->next = child;
    else
        to->first = child;
    to->last = child;
    to->n++;
}

/* Read the node that the event begins, to its end. */
static enum mr_status read_node(
    struct reader *r, unsigned depth, struct mr_yaml_node **node_out)
{
    enum mr_status status = check_event(r);
    struct mr_yaml_node *node, *child;

    if (status != MR_OK)
        return status;
    if (depth == MR_YAML_DEPTH)
        return fail_at(
            r, r->event.start_mark, NULL, "nested too deeply; that is no spec");
    node = new_node(r);
    if (!node)
        return mr_fail_nomem(r->err);
    *node_out = node;
    if (node->kind == MR_YAML_SCALAR)
        return MR_OK;
    for (;;) {
        status = next_event(r);
        if (status != MR_OK || r->event.type == YAML_SEQUENCE_END_EVENT ||
            r->event.type == YAML_MAPPING_END_EVENT)
            return status;
        status = read_node(r, depth + 1, &child);
        if (status != MR_OK)
            return status;
        if (node->kind == MR_YAML_MAPPING && node->n % 2 == 0 &&
            child->kind != MR_YAML_SCALAR)
            return mr_yaml_fail(r->err, child,
                "write one 'key: value' line for each setting",
                "a key must be a single word");
        append(node, child);
    }
}

static enum mr_status read_stream(struct reader *r)
{
    enum mr_status status = expect(r, YAML_STREAM_START_EVENT, "not YAML");

    if (status == MR_OK)
        status = expect(r, YAML_DOCUMENT_START_EVENT, "the file is empty");
    if (status == MR_OK)
        status = expect(
            r, YAML_MAPPING_START_EVENT, "a spec is a mapping of settings");
    if (status == MR_OK)
        status = read_node(r, 0, &r->yaml->root);
    if (status == MR_OK)
        status = expect(r, YAML_DOCUMENT_END_EVENT, "the mapping goes on");
    if (status == MR_OK)
        status = expect(r, YAML_STREAM_END_EVENT,
            "a spec is one document, here is another");
    return status;
}

enum mr_status mr_yaml_read(
    struct mr_span text, struct mr_yaml *yaml_out, struct mr_error *err)
{
    struct reader r = {.yaml = yaml_out, .err = err};
    enum mr_status status;

    memset(yaml_out, 0, sizeof(*yaml_out));
    if (!yaml_parser_initialize(&r.parser))
        return mr_fail_nomem(err);
    yaml_parser_set_input_string(&r.parser, text.p, text.n);
    status = read_stream(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return status;
}

void mr_yaml_release(struct mr_yaml *yaml)
{
    struct mr_yaml_node *node, *older;

    for (node = yaml->newest; node; node = older) {
        older = node->older;
        free(node->text);
        free(node);
    }
    memset(yaml, 0, sizeof(*yaml));
}
