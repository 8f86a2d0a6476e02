/*
 * slot_file.h
 *		Small files of ours in the folder of a replication slot, where the
 *		server drops them with the slot.
 */
#ifndef WAL2KAFKA_SLOT_FILE_H
#define WAL2KAFKA_SLOT_FILE_H

#include "postgres.h"

/*
 * Write the path of such a file, relative to the data directory, to path[],
 * which has MAXPGPATH bytes.
 */
extern void slot_file_path(char *path, const char *slot_name,
						   const char *file);

/* The same of the file that slot_file_prepare() writes for it. */
extern void slot_file_tmp_path(char *path, const char *slot_name,
							   const char *file);

/*
 * Write a new version beside the file, and to disk; slot_file_publish() gives
 * it the name: atomically, and it is there after a crash, too.  Two steps,
 * since the caller may have something to do between them.  Both raise the
 * errors of files, slot_file_publish() with the given level, and without
 * leaving the new version behind if writing fails.
 */
extern void slot_file_prepare(const char *slot_name, const char *file,
							  const void *data, size_t len);
extern void slot_file_publish(const char *slot_name, const char *file,
							  int elevel);

#endif							/* WAL2KAFKA_SLOT_FILE_H */
