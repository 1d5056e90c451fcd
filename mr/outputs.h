#ifndef MR_OUTPUTS_H
#define MR_OUTPUTS_H

#include "mr/source.h"
#include "mr/spec.h"

/*
 * Files that a run is to write are not those that it reads: a mistyped option
 * must not cost the data.
 */

/**
 * mr_output_check(path, option, spec_name, spec, listing, err): That a file to
 * be written (or NULL), the value of that option, is no input, nor a list of
 * inputs, the spec's file or its users table, by this path or by another:
 * MR_USAGE otherwise.  To be called before anything is written.  spec_name is
 * what mr_spec_load was given for spec; without a spec both are NULL.  A few
 * system calls; where the file exists already, one for each list, and for each
 * input of its size.
 */
MR_MUST_CHECK enum mr_status mr_output_check(const char *path,
    const char *option, const char *spec_name, const struct mr_spec *spec,
    const struct mr_listing *listing, struct mr_error *err);

/** mr_outputs_check(output, rejects, spec_name, spec, listing, err): The same
 * of the values of --output and --rejects (either may be NULL), and that they
 * are not one file. */
MR_MUST_CHECK enum mr_status mr_outputs_check(const char *output,
    const char *rejects, const char *spec_name, const struct mr_spec *spec,
    const struct mr_listing *listing, struct mr_error *err);

/** mr_output_is(path, other): Whether two paths are those of one file, which is
 * there. */
bool mr_output_is(const char *path, const char *other);

/** mr_output_not_manifest(path, option, manifest, err): That a file to be
 * written is not the manifest that was read, by this path or by another:
 * MR_USAGE otherwise. */
MR_MUST_CHECK enum mr_status mr_output_not_manifest(const char *path,
    const char *option, const char *manifest, struct mr_error *err);

#endif
