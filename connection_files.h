/*
 * connection_files.h
 *		The files that connections are made with, and whether they changed.
 *
 * A producer and a registry's client read passwords, certificates and keys
 * when they are made, and never again.  Whoever keeps them for long has to
 * see that a file was renewed.
 */
#ifndef WAL2KAFKA_CONNECTION_FILES_H
#define WAL2KAFKA_CONNECTION_FILES_H

#include "preload/settings.h"

/*
 * A digest of what is in the options files of Kafka and the registry, in the
 * files that options name, and of who may read these.  One that is not there,
 * or cannot be read, is a part of it, too.  Raises nothing but a lack of
 * memory.
 */
extern uint64 connection_files_digest(const Settings *settings);

/*
 * Can a producer and a registry's client be made with the files as they are
 * now?  If not, warns with the reason.
 */
extern bool connection_files_usable(const Settings *settings);

#endif							/* WAL2KAFKA_CONNECTION_FILES_H */
