/*
 * server_shim.c
 *		The few functions of the server that our files call, for tests that
 *		run without a server.
 *
 * Memory contexts are lists of malloc'd chunks, so that a leak checker sees
 * what a context would hide.  An error is kept and thrown to the PG_TRY
 * around it; lines of the log are counted, and printed when SHIM_LOG is set
 * in the environment.
 */
#include "postgres.h"

#include <stdarg.h>

#include "server_shim.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include <fcntl.h>
#include <unistd.h>

typedef struct Chunk
{
	struct Chunk *next;
	struct Chunk *prev;
	MemoryContext owner;
	size_t		size;
} Chunk;

typedef struct ShimContext
{
	MemoryContextData base;
	Chunk		chunks;			/* head of a circular list */
	MemoryContextCallback *callbacks;	/* called once, the last one first */
	struct ShimContext *parent;
	struct ShimContext *first_child;
	struct ShimContext *next_sibling;
} ShimContext;

static ShimContext top_context = {
	.chunks = {&top_context.chunks, &top_context.chunks},
};

MemoryContext TopMemoryContext = &top_context.base;
MemoryContext CurrentMemoryContext = &top_context.base;
sigjmp_buf *PG_exception_stack = NULL;
ErrorContextCallback *error_context_stack = NULL;

ShimError	shim_error;
int			shim_log_lines;
int			shim_external_fds;
const char *shim_secret;
int			shim_exposed;

static int	current_elevel;

/* ---- memory ---- */

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name,
							  Size minContextSize, Size initBlockSize,
							  Size maxBlockSize)
{
	ShimContext *cxt = calloc(1, sizeof(ShimContext));
	ShimContext *owner = (ShimContext *) parent;

	cxt->base.name = name;
	cxt->chunks.next = cxt->chunks.prev = &cxt->chunks;
	cxt->parent = owner;
	cxt->next_sibling = owner->first_child;
	owner->first_child = cxt;
	return &cxt->base;
}

void
MemoryContextRegisterResetCallback(MemoryContext context,
								   MemoryContextCallback *cb)
{
	ShimContext *cxt = (ShimContext *) context;

	cb->next = cxt->callbacks;
	cxt->callbacks = cb;
}

void
MemoryContextReset(MemoryContext context)
{
	ShimContext *cxt = (ShimContext *) context;

	while (cxt->first_child != NULL)
		MemoryContextDelete(&cxt->first_child->base);
	while (cxt->callbacks != NULL)
	{
		MemoryContextCallback *cb = cxt->callbacks;

		cxt->callbacks = cb->next;
		cb->func(cb->arg);
	}
	while (cxt->chunks.next != &cxt->chunks)
		pfree(cxt->chunks.next + 1);
}

static void
unlink_context(ShimContext *cxt)
{
	ShimContext **link = &cxt->parent->first_child;

	while (*link != cxt)
		link = &(*link)->next_sibling;
	*link = cxt->next_sibling;
}

void
MemoryContextSetParent(MemoryContext context, MemoryContext new_parent)
{
	ShimContext *cxt = (ShimContext *) context;

	unlink_context(cxt);
	cxt->parent = (ShimContext *) new_parent;
	cxt->next_sibling = cxt->parent->first_child;
	cxt->parent->first_child = cxt;
}

void
MemoryContextDelete(MemoryContext context)
{
	ShimContext *cxt = (ShimContext *) context;

	MemoryContextReset(context);
	unlink_context(cxt);
	free(cxt);
}

void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	ShimContext *cxt = (ShimContext *) context;
	Chunk	   *chunk = malloc(sizeof(Chunk) + size);

	chunk->owner = context;
	chunk->size = size;
	chunk->next = cxt->chunks.next;
	chunk->prev = &cxt->chunks;
	chunk->next->prev = chunk;
	cxt->chunks.next = chunk;
	return chunk + 1;
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return memset(MemoryContextAlloc(context, size), 0, size);
}

/* Memory never ends here, so that only zeroing is asked for. */
void *
MemoryContextAllocExtended(MemoryContext context, Size size, int flags)
{
	return (flags & MCXT_ALLOC_ZERO) != 0 ?
		MemoryContextAllocZero(context, size) :
		MemoryContextAlloc(context, size);
}

void *
palloc(Size size)
{
	return MemoryContextAlloc(CurrentMemoryContext, size);
}

void *
palloc0(Size size)
{
	return MemoryContextAllocZero(CurrentMemoryContext, size);
}

static bool
has_secret(const Chunk *chunk)
{
	return shim_secret != NULL &&
		memmem(chunk + 1, chunk->size, shim_secret,
			   strlen(shim_secret)) != NULL;
}

static bool
context_has_secret(const ShimContext *cxt)
{
	for (Chunk *chunk = cxt->chunks.next; chunk != &cxt->chunks;
		 chunk = chunk->next)
		if (has_secret(chunk))
			return true;
	for (ShimContext *child = cxt->first_child; child != NULL;
		 child = child->next_sibling)
		if (context_has_secret(child))
			return true;
	return false;
}

bool
shim_keeps_secret(void)
{
	return context_has_secret(&top_context);
}

void
pfree(void *pointer)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;

	if (has_secret(chunk))
		shim_exposed++;
	chunk->next->prev = chunk->prev;
	chunk->prev->next = chunk->next;
	free(chunk);
}

void *
repalloc(void *pointer, Size size)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;
	void	   *copy = MemoryContextAlloc(chunk->owner, size);

	memcpy(copy, pointer, Min(size, chunk->size));
	pfree(pointer);
	return copy;
}

char *
MemoryContextStrdup(MemoryContext context, const char *string)
{
	size_t		size = strlen(string) + 1;

	return memcpy(MemoryContextAlloc(context, size), string, size);
}

char *
pnstrdup(const char *in, Size len)
{
	char	   *copy;

	len = strnlen(in, len);
	copy = palloc(len + 1);
	memcpy(copy, in, len);
	copy[len] = '\0';
	return copy;
}

char *
pstrdup(const char *in)
{
	return pnstrdup(in, strlen(in));
}

/* ---- errors ---- */

bool
errstart(int elevel, const char *domain)
{
	current_elevel = elevel;
	memset(&shim_error, 0, sizeof(shim_error));
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	if (current_elevel < ERROR)
	{
		shim_log_lines++;
		if (getenv("SHIM_LOG") != NULL)
			printf("# LOG: %s%s%s\n", shim_error.message,
				   shim_error.detail[0] ? " / " : "", shim_error.detail);
		return;
	}
	if (PG_exception_stack == NULL)
	{
		printf("not ok - uncaught error: %s / %s / %s\n", shim_error.message,
			   shim_error.detail, shim_error.hint);
		abort();
	}
	siglongjmp(*PG_exception_stack, 1);
}

void
pg_re_throw(void)
{
	if (PG_exception_stack == NULL)
		abort();
	siglongjmp(*PG_exception_stack, 1);
}

int
errcode(int sqlerrcode)
{
	shim_error.sqlerrcode = sqlerrcode;
	return 0;
}

int
errhidecontext(bool hide)
{
	return 0;
}

int
errcode_for_file_access(void)
{
	return errcode(ERRCODE_IO_ERROR);
}

int
errcode_for_socket_access(void)
{
	return errcode(ERRCODE_IO_ERROR);
}

#define FORMAT_INTO(field) \
	do { \
		va_list		args; \
		va_start(args, fmt); \
		vsnprintf(shim_error.field, sizeof(shim_error.field), fmt, args); \
		va_end(args); \
		return 0; \
	} while (0)

int
errmsg(const char *fmt,...)
{
	FORMAT_INTO(message);
}

int
errmsg_internal(const char *fmt,...)
{
	FORMAT_INTO(message);
}

int
errdetail(const char *fmt,...)
{
	FORMAT_INTO(detail);
}

int
errdetail_internal(const char *fmt,...)
{
	FORMAT_INTO(detail);
}

int
errhint(const char *fmt,...)
{
	FORMAT_INTO(hint);
}

/* ---- files ---- */

int
OpenTransientFile(const char *fileName, int fileFlags)
{
	return open(fileName, fileFlags);
}

int
CloseTransientFile(int fd)
{
	return close(fd);
}

static pg_on_exit_callback proc_exit_callback;

void
on_proc_exit(pg_on_exit_callback function, Datum arg)
{
	proc_exit_callback = function;
}

void
shim_proc_exit(int code)
{
	if (proc_exit_callback != NULL)
		proc_exit_callback(code, (Datum) 0);
}

void
ReserveExternalFD(void)
{
	shim_external_fds++;
}

void
ReleaseExternalFD(void)
{
	shim_external_fds--;
}
