#ifndef SHARD_H
#define SHARD_H

#include "cmd/options.h"

/*
 * Which part of the partitions a machine is to take, as its scheduler's
 * environment tells it (--shard auto).  Nothing else looks at these variables.
 */

/**
 * shard_from_environment(options, message): Put into options->shard, where
 * that asks for it, part and number of parts from the variables of the one
 * scheduler that has set its own:
 *
 *   Slurm       SLURM_ARRAY_TASK_ID, _COUNT, _MIN and _MAX: ids may begin
 *               anywhere and go up in equal steps
 *   Open MPI    OMPI_COMM_WORLD_RANK (from 0 on), OMPI_COMM_WORLD_SIZE
 *   AWS Batch   AWS_BATCH_JOB_ARRAY_INDEX (from 0 on), and the number of parts
 *               from AWS_BATCH_JOB_ARRAY_SIZE or auto/N
 *   Kubernetes  JOB_COMPLETION_INDEX (from 0 on), the number from auto/N
 *
 * False, with a sentence, if no or more than one scheduler has, if a variable
 * is missing or is no such number, or if the number of parts is not that of
 * auto/N.
 */
bool shard_from_environment(
    struct options *options, char message_out[OPTIONS_MESSAGE]);

#endif
