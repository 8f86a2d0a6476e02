/*
 * foreign_text.h
 *		Texts of others in messages of ours; without what foreign.h needs for
 *		JSON, which is not for files with the server's own functions for it.
 */
#ifndef WAL2KAFKA_FOREIGN_TEXT_H
#define WAL2KAFKA_FOREIGN_TEXT_H

/* Bytes of a value that an error quotes. */
#define QUOTED_LENGTH	256

/*
 * A UTF-8 text (valid or not) as it may stand in a message: at most max_len
 * bytes and dots, without control characters, valid in the database's
 * encoding.  Palloc'd.
 */
extern char *foreign_text(const char *text, int max_len);

#endif							/* WAL2KAFKA_FOREIGN_TEXT_H */
