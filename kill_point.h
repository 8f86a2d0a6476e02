/*
 * kill_point.h
 *		Named places at which tests end a process.
 *
 * Each step that makes something durable, here or in Kafka, has a name before
 * and after it.  A build with -DWAL2KAFKA_KILL_POINTS asks at each whether a
 * test wants to end the worker or the server there; from PostgreSQL 17 on a
 * server with injection points has them as injection points, too.  Ordinary
 * builds have none of it.
 */
#ifndef WAL2KAFKA_KILL_POINT_H
#define WAL2KAFKA_KILL_POINT_H

#ifdef WAL2KAFKA_KILL_POINTS
extern void kill_point_reached(const char *name);
#define KILL_POINT(name)	kill_point_reached(name)
#else
#define KILL_POINT(name)	((void) 0)
#endif

#endif							/* WAL2KAFKA_KILL_POINT_H */
