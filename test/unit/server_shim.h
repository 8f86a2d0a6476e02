/*
 * server_shim.h
 *		The server as the tests see it; see server_shim.c.
 */
#ifndef SERVER_SHIM_H
#define SERVER_SHIM_H

typedef struct ShimError
{
	int			sqlerrcode;
	char		message[1024];
	char		detail[2048];
	char		hint[1024];
} ShimError;

/* The last error or log line. */
extern ShimError shim_error;
extern int	shim_log_lines;
extern int	shim_external_fds;

/* As at the end of a process: the last on_proc_exit() callback. */
extern void shim_proc_exit(int code);

/*
 * A text that no memory may have when it is given back, how often one had, and
 * whether any that was not given back has it.
 */
extern const char *shim_secret;
extern int	shim_exposed;
extern bool shim_keeps_secret(void);

/* Does this statement raise an error?  Which one is in shim_error. */
#define RAISES(raised, statement) \
	do { \
		raised = false; \
		PG_TRY(); \
		{ \
			statement; \
		} \
		PG_CATCH(); \
		{ \
			raised = true; \
		} \
		PG_END_TRY(); \
	} while (0)

#endif							/* SERVER_SHIM_H */
