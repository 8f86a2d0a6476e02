/*
 * toast_reselect.c
 *		The true value of a large column that an update did not change.
 *
 * Two processes: the streaming worker, which decodes and therefore never
 * looks at tables, asks; its helper, a dynamic background worker, reads.  They
 * have two queues in one segment of dynamic shared memory, and each question
 * is answered before the next one is asked.  When the worker ends, the queues
 * tell the helper, which ends too.
 *
 * Why equal pointers are equal values.  What lies in a TOAST table under one
 * value id is written once and never changed.  An id is given again only when
 * nothing is left of the old value, which takes a vacuum of the old value,
 * and so many new values in between that the server's counter of OIDs, of 32
 * bits, has gone round.  So while a row of the table has the same pointer as
 * the event (value id, TOAST table, and both sizes), what it points to is the
 * event's value, whatever else happened to the row meanwhile.  A row whose
 * value was replaced has another pointer, and one that was deleted has none:
 * then there is no answer.
 *
 * Which row is looked at.  Every version with the key that is not known to be
 * dead (SnapshotDirty).  A commit is in the WAL, and decoded, before its
 * transaction leaves the array of running ones: no snapshot sees yet what it
 * inserted.  What it left unchanged would be found in the version before, too,
 * which has the very same pointer.  Nothing is read that is not committed: the
 * pointer is the event's, whose transaction has committed in the WAL.  A
 * snapshot that was taken before keeps all that such a version points to from
 * vacuum until the value is read.
 *
 * DDL.  The helper waits for no lock on a table or index: what is not to be
 * had at once would be behind somebody who waits to alter the table, and the
 * stream behind him.  The lock is gone before the answer is sent.
 *
 * A table that is rewritten gets other pointers (ALTER TABLE) or keeps its
 * own with the same values (VACUUM FULL, CLUSTER).
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "utils/acl.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "relation_map.h"
#include "snapshot_reader.h"
#include "toast_reselect.h"
#include "type_map.h"

#define STREAM_LIBRARY		"$libdir/wal2kafka_stream"
#define HELPER_FUNCTION		"toast_reselect_main"

#define REQUEST_BYTES		65536
#define REPLY_BYTES			262144

/* Values go through the queue in parts of this size. */
#define PART_BYTES			65536

/* Larger values, or more of them in one row, are not asked for. */
#define MAX_ROW_BYTES		(64 * 1024 * 1024)

/* A helper that is silent for so long is given up; more for large values. */
#define START_TIMEOUT_MS	5000
#define REPLY_TIMEOUT_MS	1000
#define BYTES_PER_MS		16384

/* Then another one is started after a while. */
#define MIN_BACKOFF_MS		1000
#define MAX_BACKOFF_MS		60000

/* The helper waits for no lock longer, those of TOAST tables included. */
#define LOCK_TIMEOUT		"100ms"

/* The segment. */
typedef struct Channel
{
	int			stream;			/* index of the stream's entry */
	char		requests[REQUEST_BYTES] pg_attribute_aligned(MAXIMUM_ALIGNOF);
	char		replies[REPLY_BYTES] pg_attribute_aligned(MAXIMUM_ALIGNOF);
} Channel;

/*
 * A request: this, ncolumns AskedColumns, and for each of nkeys columns a
 * KeyColumn and its value by datumSerialize().  Nothing is aligned.
 */
typedef struct Request
{
	Oid			relid;
	int			ncolumns;
	int			nkeys;
} Request;

typedef struct AskedColumn
{
	AttrNumber	attnum;
	Oid			typid;
	struct varatt_external pointer;
} AskedColumn;

typedef struct KeyColumn
{
	AttrNumber	attnum;
	Oid			typid;
} KeyColumn;

/*
 * A reply: any number of parts of values, each a ReplyPart and bytes; parts
 * of a value come in order.  A ReplyPart with END_OF_REPLY ends it.
 */
typedef struct ReplyPart
{
	int			column;			/* index among those that were asked for */
	uint32		size;			/* of the whole value */
	uint32		offset;			/* of this part */
} ReplyPart;

#define END_OF_REPLY	(-1)

bool		toast_reselect_on = false;

/* ---------------------------------------------------------------------
 * The streaming worker
 * --------------------------------------------------------------------- */

static struct
{
	StreamState *stream;
	MemoryContext context;
	BackgroundWorkerHandle *helper; /* NULL: none */
	dsm_segment *segment;
	shm_mq_handle *requests;
	shm_mq_handle *replies;
	bool		answered;		/* this helper, at least once */
	int64		max_bytes;		/* of values in one row */
	TimestampTz retry_at;		/* no helper is started before */
	int			backoff_ms;
	StringInfoData request;
	uint32		wait_event;
}			asker;

void
toast_reselect_start(StreamState *stream, const Settings *settings,
					 size_t message_limit)
{
	MemoryContext old;

	if (!settings->toast_reselect)
		return;
	asker.stream = stream;
	asker.context = AllocSetContextCreate(TopMemoryContext,
										  "wal2kafka reselect",
										  ALLOCSET_SMALL_SIZES);
	asker.backoff_ms = MIN_BACKOFF_MS;
	asker.max_bytes = Min(message_limit, MAX_ROW_BYTES);
	asker.wait_event = compat_wait_event("Wal2kafkaToastReselect");
	old = MemoryContextSwitchTo(asker.context);
	initStringInfo(&asker.request);
	MemoryContextSwitchTo(old);
	toast_reselect_on = true;
}

/*
 * Let go of the helper, which ends when it sees that.
 */
static void
forget_helper(void)
{
	if (asker.requests != NULL)
		shm_mq_detach(asker.requests);
	if (asker.replies != NULL)
		shm_mq_detach(asker.replies);
	if (asker.segment != NULL)
		dsm_detach(asker.segment);
	asker.requests = NULL;
	asker.replies = NULL;
	asker.segment = NULL;
	if (asker.helper != NULL)
		pfree(asker.helper);
	asker.helper = NULL;
}

void
toast_reselect_finish(void)
{
	toast_reselect_on = false;
	forget_helper();
}

/*
 * Placeholders for a while.
 */
static void
give_up(const char *why, const char *hint)
{
	if (asker.helper != NULL)
		TerminateBackgroundWorker(asker.helper);
	forget_helper();
	asker.retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												 asker.backoff_ms);
	ereport(LOG,
			(errhidecontext(true),
			 errmsg("stream \"%s\" cannot read unchanged large values: %s",
					asker.stream->name, why),
			 errdetail("Placeholders are sent for %d s.",
					   asker.backoff_ms / 1000),
			 hint ? errhint("%s", hint) : 0));
	asker.backoff_ms = Min(2 * asker.backoff_ms, MAX_BACKOFF_MS);
}

/*
 * Start a helper.  It can be written to at once.
 */
static bool
start_helper(void)
{
	MemoryContext old;
	BackgroundWorker worker = {0};
	Channel    *channel;
	shm_mq	   *requests;
	shm_mq	   *replies;

	if (GetCurrentTimestamp() < asker.retry_at)
		return false;

	old = MemoryContextSwitchTo(asker.context);
	asker.segment = dsm_create(sizeof(Channel), 0);
	dsm_pin_mapping(asker.segment);
	channel = dsm_segment_address(asker.segment);
	channel->stream = asker.stream - shared_state_stream(0);
	requests = shm_mq_create(channel->requests, REQUEST_BYTES);
	replies = shm_mq_create(channel->replies, REPLY_BYTES);
	shm_mq_set_sender(requests, MyProc);
	shm_mq_set_receiver(replies, MyProc);

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(asker.segment));
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, STREAM_LIBRARY,
			sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, HELPER_FUNCTION,
			sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name),
			 "wal2kafka reselect %s", asker.stream->name);
	strlcpy(worker.bgw_type, "wal2kafka reselect", sizeof(worker.bgw_type));
	if (!RegisterDynamicBackgroundWorker(&worker, &asker.helper))
	{
		asker.helper = NULL;
		MemoryContextSwitchTo(old);
		give_up("no background worker is free",
				"Consider increasing max_worker_processes.");
		return false;
	}
	asker.requests = shm_mq_attach(requests, asker.segment, asker.helper);
	asker.replies = shm_mq_attach(replies, asker.segment, asker.helper);
	asker.answered = false;
	MemoryContextSwitchTo(old);
	return true;
}

/*
 * The attribute of the row that the relation's own attribute is.
 */
static AttrNumber
attribute_in_row(const RelationEntry *entry, AttrNumber attnum)
{
	if (entry->to_root == NULL)
		return attnum;
	for (int i = 0; i < entry->to_root->maplen; i++)
		if (entry->to_root->attnums[i] == attnum)
			return i + 1;
	return InvalidAttrNumber;
}

/*
 * The pointer of a column whose value is not known.
 */
static bool
get_pointer(const RelationEntry *entry, const RelationColumn *column,
			TupleTableSlot *slot, struct varatt_external *pointer)
{
	int			index = column->attnum - 1;

	if (!type_map_can_toast(column->encoder) || column->encoder->constant ||
		slot->tts_isnull[index] ||
		!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(slot->tts_values[index])))
		return false;
	VARATT_EXTERNAL_GET_POINTER(*pointer,
								(struct varlena *) DatumGetPointer(slot->tts_values[index]));
	return true;
}

/*
 * Append the columns that are asked for; attnums has their attributes in the
 * row then.  Returns how many they are, and the size of their values.
 */
static int
append_columns(const RelationEntry *entry, TupleTableSlot *slot,
			   AttrNumber *attnums, int64 *bytes)
{
	int			ncolumns = 0;

	*bytes = 0;
	for (int i = 0; i < entry->ncolumns; i++)
	{
		const RelationColumn *column = &entry->columns[i];
		AskedColumn asked = {0};

		if (!get_pointer(entry, column, slot, &asked.pointer) ||
			*bytes + asked.pointer.va_rawsize > asker.max_bytes)
			continue;
		*bytes += asked.pointer.va_rawsize;
		asked.attnum = entry->to_root == NULL ? column->attnum :
			entry->to_root->attnums[column->attnum - 1];
		asked.typid = TupleDescAttr(slot->tts_tupleDescriptor,
									column->attnum - 1)->atttypid;
		appendBinaryStringInfo(&asker.request, (char *) &asked,
							   sizeof(asked));
		attnums[ncolumns++] = column->attnum;
	}
	return ncolumns;
}

/*
 * Append the values by which the row is found.  False: they are not all
 * known.
 */
static bool
append_key(const RelationEntry *entry, TupleTableSlot *slot)
{
	StringInfo	request = &asker.request;

	for (int i = 0; i < entry->nown_keys; i++)
	{
		AttrNumber	attnum = attribute_in_row(entry, entry->own_keys[i]);
		KeyColumn	key = {.attnum = entry->own_keys[i]};
		Form_pg_attribute att;
		Datum		value;
		bool		isnull;
		char	   *end;

		if (attnum == InvalidAttrNumber)
			return false;
		att = TupleDescAttr(slot->tts_tupleDescriptor, attnum - 1);
		value = slot->tts_values[attnum - 1];
		isnull = slot->tts_isnull[attnum - 1];
		if (att->attlen == -1 && !isnull)
		{
			if (VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
				return false;
			value = PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
		}
		key.typid = att->atttypid;
		appendBinaryStringInfo(request, (char *) &key, sizeof(key));
		enlargeStringInfo(request,
						  datumEstimateSpace(value, isnull, att->attbyval,
											 att->attlen));
		end = request->data + request->len;
		datumSerialize(value, isnull, att->attbyval, att->attlen, &end);
		request->len = end - request->data;
	}
	return true;
}

/*
 * The next message of the helper.  SHM_MQ_WOULD_BLOCK: there is none in time.
 * Leaves the latch set if it waited: others may have set it.
 */
static shm_mq_result
receive(Size *len, void **data, int64 timeout_ms)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   timeout_ms);
	bool		waited = false;
	shm_mq_result result;

	for (;;)
	{
		long		left;

		result = shm_mq_receive(asker.replies, len, data, true);
		if (result != SHM_MQ_WOULD_BLOCK)
			break;
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
											   deadline);
		if (left <= 0)
			break;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 left, asker.wait_event);
		ResetLatch(MyLatch);
		waited = true;
		CHECK_FOR_INTERRUPTS();
	}
	if (waited)
		SetLatch(MyLatch);
	return result;
}

/*
 * Take the answer; values[i] is that of the column asked for as i, NULL if
 * there is none.
 */
static shm_mq_result
receive_values(char **values, int ncolumns, int64 timeout_ms)
{
	for (;;)
	{
		shm_mq_result result;
		ReplyPart	part;
		Size		len;
		void	   *data;

		result = receive(&len, &data, timeout_ms);
		if (result != SHM_MQ_SUCCESS)
			return result;
		Assert(len >= sizeof(part));
		memcpy(&part, data, sizeof(part));
		if (part.column == END_OF_REPLY)
			return SHM_MQ_SUCCESS;
		len -= sizeof(part);
		Assert(part.column < ncolumns && part.offset + len <= part.size);
		if (part.offset == 0)
			values[part.column] = palloc(part.size);
		memcpy(values[part.column] + part.offset,
			   (char *) data + sizeof(part), len);
	}
}

/*
 * Send the request that is prepared, and take the answer.  A helper that has
 * answered before and is gone now was ended by somebody: the next one is
 * asked at once.
 */
static bool
ask(char **values, int ncolumns, int64 bytes)
{
	for (;;)
	{
		shm_mq_result result;
		bool		again;

		if (asker.helper == NULL && !start_helper())
			return false;
		memset(values, 0, ncolumns * sizeof(char *));
		result = shm_mq_send(asker.requests, asker.request.len,
							 asker.request.data, true, true);
		if (result == SHM_MQ_SUCCESS)
			result = receive_values(values, ncolumns, bytes / BYTES_PER_MS +
									(asker.answered ? REPLY_TIMEOUT_MS :
									 START_TIMEOUT_MS));
		if (result == SHM_MQ_SUCCESS)
		{
			asker.answered = true;
			asker.backoff_ms = MIN_BACKOFF_MS;
			return true;
		}
		again = asker.answered && result == SHM_MQ_DETACHED;
		if (again)
			forget_helper();
		else
		{
			give_up(result == SHM_MQ_DETACHED ?
					"the process that reads them ended" :
					"the process that reads them gave no answer", NULL);
			return false;
		}
	}
}

Bitmapset *
toast_reselect(const RelationEntry *entry, TupleTableSlot *slot)
{
	Request		request = {.relid = entry->relid,.nkeys = entry->nown_keys};
	Bitmapset  *result = NULL;
	AttrNumber *attnums;
	char	  **values;
	int64		bytes;

	if (entry->nown_keys == 0)
		return NULL;
	attnums = palloc(entry->ncolumns * sizeof(AttrNumber));
	resetStringInfo(&asker.request);
	appendBinaryStringInfo(&asker.request, (char *) &request,
						   sizeof(request));
	request.ncolumns = append_columns(entry, slot, attnums, &bytes);
	if (request.ncolumns == 0 || !append_key(entry, slot))
		return NULL;
	memcpy(asker.request.data, &request, sizeof(request));

	values = palloc(request.ncolumns * sizeof(char *));
	if (!ask(values, request.ncolumns, bytes))
		return NULL;
	for (int i = 0; i < request.ncolumns; i++)
	{
		if (values[i] == NULL)
			continue;
		slot->tts_values[attnums[i] - 1] = PointerGetDatum(values[i]);
		result = bms_add_member(result, attnums[i]);
	}
	return result;
}

/* ---------------------------------------------------------------------
 * The helper
 * --------------------------------------------------------------------- */

/* A request, taken apart.  In a context that is reset after each. */
typedef struct Question
{
	Oid			relid;
	int			ncolumns;
	AskedColumn *columns;
	struct varlena **values;	/* found; NULL: not */
	int			nkeys;
	KeyColumn  *keys;
	Datum	   *key_values;
	bool	   *key_nulls;
} Question;

static struct
{
	StreamState *stream;
	shm_mq_handle *replies;
	HTAB	   *warned;			/* OIDs of tables */
	MemoryContext context;		/* of the question and its values */
}			helper;

static void
take(const char **from, void *to, size_t size)
{
	memcpy(to, *from, size);
	*from += size;
}

static void
parse_request(const char *data, Question *question)
{
	Request		request;

	take(&data, &request, sizeof(request));
	question->relid = request.relid;
	question->ncolumns = request.ncolumns;
	question->columns = palloc(request.ncolumns * sizeof(AskedColumn));
	question->values = palloc0(request.ncolumns * sizeof(struct varlena *));
	question->nkeys = request.nkeys;
	question->keys = palloc(request.nkeys * sizeof(KeyColumn));
	question->key_values = palloc(request.nkeys * sizeof(Datum));
	question->key_nulls = palloc(request.nkeys * sizeof(bool));
	take(&data, question->columns, request.ncolumns * sizeof(AskedColumn));
	for (int i = 0; i < request.nkeys; i++)
	{
		take(&data, &question->keys[i], sizeof(KeyColumn));
		question->key_values[i] = datumRestore((char **) &data,
											   &question->key_nulls[i]);
	}
}

/*
 * Say once of a table why there is nothing of it.
 */
static void
warn_once(Oid relid, int code, const char *detail, const char *hint)
{
	char	   *name = get_rel_name(relid);
	char	   *message;
	bool		found;

	hash_search(helper.warned, &relid, HASH_ENTER, &found);
	if (found || name == NULL)
		return;
	message = psprintf("unchanged large values of table \"%s.%s\" are not read",
					   get_namespace_name(get_rel_namespace(relid)), name);
	ereport(WARNING,
			(errcode(code),
			 errmsg("stream \"%s\": %s", helper.stream->name, message),
			 errdetail("%s", detail),
			 hint ? errhint("%s", hint) : 0));
	stream_set_error(helper.stream, message, detail, hint);
}

/*
 * Open a relation if its lock is to be had at once; else NULL.
 */
static Relation
open_at_once(Oid relid)
{
	Relation	relation;

	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return NULL;
	relation = try_relation_open(relid, NoLock);
	if (relation == NULL)
		UnlockRelationOid(relid, AccessShareLock);
	return relation;
}

/*
 * May the role read all that it takes?
 */
static bool
may_read_columns(const Question *question, Oid role)
{
	for (int i = 0; i < question->ncolumns; i++)
		if (pg_attribute_aclcheck(question->relid,
								  question->columns[i].attnum, role,
								  ACL_SELECT) != ACLCHECK_OK)
			return false;
	for (int i = 0; i < question->nkeys; i++)
		if (pg_attribute_aclcheck(question->relid, question->keys[i].attnum,
								  role, ACL_SELECT) != ACLCHECK_OK)
			return false;
	return true;
}

static bool
may_read(const Question *question)
{
	Oid			role = GetUserId();
	const char *role_name;

	if (pg_class_aclcheck(question->relid, role, ACL_SELECT) != ACLCHECK_OK &&
		!may_read_columns(question, role))
	{
		role_name = GetUserNameFromId(role, false);
		warn_once(question->relid, ERRCODE_INSUFFICIENT_PRIVILEGE,
				  psprintf("Role \"%s\" may not read the table.", role_name),
				  psprintf("Grant SELECT to role \"%s\".", role_name));
		return false;
	}
	if (check_enable_rls(question->relid, InvalidOid, true) == RLS_ENABLED)
	{
		role_name = GetUserNameFromId(role, false);
		warn_once(question->relid, ERRCODE_INSUFFICIENT_PRIVILEGE,
				  psprintf("Row-level security of the table applies to role \"%s\".",
						   role_name),
				  psprintf("Give role \"%s\" the attribute BYPASSRLS.",
						   role_name));
		return false;
	}
	return true;
}

/*
 * Has the table this attribute, of this type?  It may have been altered since
 * the event.
 */
static bool
same_attribute(Relation table, AttrNumber attnum, Oid typid)
{
	TupleDesc	desc = RelationGetDescr(table);

	return attnum <= desc->natts &&
		!TupleDescAttr(desc, attnum - 1)->attisdropped &&
		TupleDescAttr(desc, attnum - 1)->atttypid == typid;
}

static int
find_key_column(const Question *question, AttrNumber attnum)
{
	for (int i = 0; i < question->nkeys; i++)
		if (question->keys[i].attnum == attnum)
			return i;
	return -1;
}

/*
 * Make the search for the key by the index, if it is of these columns and no
 * others.
 */
static bool
make_scan_keys(Relation index, const Question *question, ScanKey scan_keys)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisunique || !form->indisvalid || !form->indimmediate ||
		form->indnkeyatts != question->nkeys ||
		index->rd_rel->relam != BTREE_AM_OID ||
		!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		int			key = find_key_column(question, form->indkey.values[i]);
		Oid			type = index->rd_opcintype[i];
		Oid			equality;

		if (key < 0)
			return false;
		if (question->key_nulls[key])
		{
			ScanKeyEntryInitialize(&scan_keys[i], SK_ISNULL | SK_SEARCHNULL,
								   i + 1, InvalidStrategy, InvalidOid,
								   InvalidOid, InvalidOid, (Datum) 0);
			continue;
		}
		equality = get_opfamily_member(index->rd_opfamily[i], type, type,
									   BTEqualStrategyNumber);
		if (!OidIsValid(equality))
			return false;
		ScanKeyEntryInitialize(&scan_keys[i], 0, i + 1,
							   BTEqualStrategyNumber, InvalidOid,
							   index->rd_indcollation[i],
							   get_opcode(equality),
							   question->key_values[key]);
	}
	return true;
}

/*
 * Open the index that finds the row; NULL: there is none now, or somebody has
 * it locked.
 */
static Relation
open_index(Relation table, const Question *question, ScanKey scan_keys)
{
	List	   *indexes = RelationGetIndexList(table);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = open_at_once(lfirst_oid(cell));

		if (index == NULL)
			continue;
		if (make_scan_keys(index, question, scan_keys))
			return index;
		relation_close(index, AccessShareLock);
	}
	return NULL;
}

/*
 * Read what has the event's pointer in this version of the row.
 */
static void
read_values(Question *question, TupleTableSlot *slot)
{
	for (int i = 0; i < question->ncolumns; i++)
	{
		const AskedColumn *column = &question->columns[i];
		struct varatt_external pointer;
		struct varlena *value;
		bool		isnull;
		MemoryContext old;

		if (question->values[i] != NULL)
			continue;
		value = (struct varlena *)
			DatumGetPointer(slot_getattr(slot, column->attnum, &isnull));
		if (isnull || !VARATT_IS_EXTERNAL_ONDISK(value))
			continue;
		VARATT_EXTERNAL_GET_POINTER(pointer, value);
		if (memcmp(&pointer, &column->pointer, sizeof(pointer)) != 0)
			continue;
		old = MemoryContextSwitchTo(helper.context);
		question->values[i] = detoast_external_attr(value);
		MemoryContextSwitchTo(old);
	}
}

static void
scan_versions(Relation table, Relation index, Question *question,
			  ScanKey scan_keys)
{
	TupleTableSlot *slot = table_slot_create(table, NULL);
	SnapshotData dirty;
	IndexScanDesc scan;

	InitDirtySnapshot(dirty);
	PushActiveSnapshot(GetLatestSnapshot());
	scan = compat_index_beginscan(table, index, &dirty, question->nkeys);
	index_rescan(scan, scan_keys, question->nkeys, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
		read_values(question, slot);
	index_endscan(scan);
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(slot);
}

static bool
same_columns(Relation table, const Question *question)
{
	for (int i = 0; i < question->ncolumns; i++)
		if (!same_attribute(table, question->columns[i].attnum,
							question->columns[i].typid))
			return false;
	for (int i = 0; i < question->nkeys; i++)
		if (!same_attribute(table, question->keys[i].attnum,
							question->keys[i].typid))
			return false;
	return true;
}

static void
read_table(Question *question)
{
	Relation	table = open_at_once(question->relid);
	ScanKey		scan_keys;
	Relation	index;

	if (table == NULL)
		return;
	if (table->rd_rel->relkind == RELKIND_RELATION &&
		table->rd_rel->relam == HEAP_TABLE_AM_OID &&
		same_columns(table, question) && may_read(question))
	{
		scan_keys = palloc(question->nkeys * sizeof(ScanKeyData));
		index = open_index(table, question, scan_keys);
		if (index != NULL)
		{
			scan_versions(table, index, question, scan_keys);
			relation_close(index, AccessShareLock);
		}
	}
	relation_close(table, AccessShareLock);
}

/*
 * Index comparisons are the superuser's functions, but no reason to trust
 * what they call.
 */
static void
read_in_transaction(Question *question)
{
	Oid			role;
	int			security;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = true;
	GetUserIdAndSecContext(&role, &security);
	SetUserIdAndSecContext(role, security | SECURITY_RESTRICTED_OPERATION);
	read_table(question);
	SetUserIdAndSecContext(role, security);
	CommitTransactionCommand();
}

/*
 * An error costs the values of one row.  That of a lock that another one has
 * is none.
 */
static void
note_error(Oid relid)
{
	ErrorData  *error;

	MemoryContextSwitchTo(helper.context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		return;
	StartTransactionCommand();
	warn_once(relid, error->sqlerrcode, error->message, error->hint);
	CommitTransactionCommand();
}

static void
read_question(Question *question)
{
	PG_TRY();
	{
		read_in_transaction(question);
	}
	PG_CATCH();
	{
		note_error(question->relid);
		memset(question->values, 0,
			   question->ncolumns * sizeof(struct varlena *));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(helper.context);
}

static void
send_part(const ReplyPart *part, const char *data, Size len)
{
	shm_mq_iovec iov[2] = {
		{.data = (const char *) part,.len = sizeof(ReplyPart)},
		{.data = data,.len = len},
	};

	if (shm_mq_sendv(helper.replies, iov, len > 0 ? 2 : 1, false,
					 part->column == END_OF_REPLY) != SHM_MQ_SUCCESS)
		proc_exit(0);
}

static void
send_reply(const Question *question)
{
	ReplyPart	part = {0};

	for (int i = 0; i < question->ncolumns; i++)
	{
		const char *value = (const char *) question->values[i];

		if (value == NULL)
			continue;
		part.column = i;
		part.size = VARSIZE_ANY(value);
		for (part.offset = 0; part.offset < part.size;
			 part.offset += PART_BYTES)
			send_part(&part, value + part.offset,
					  Min(PART_BYTES, part.size - part.offset));
	}
	part.column = END_OF_REPLY;
	send_part(&part, NULL, 0);
}

/*
 * Attach to the worker's queues.  They tell it when this process ends.
 * Returns the one of requests, NULL if the worker has gone.
 */
static shm_mq_handle *
attach_channel(dsm_handle handle)
{
	dsm_segment *segment;
	Channel    *channel;
	shm_mq	   *requests;
	shm_mq	   *replies;

	CurrentResourceOwner = ResourceOwnerCreate(NULL, "wal2kafka reselect");
	segment = dsm_attach(handle);
	if (segment == NULL)
		return NULL;
	dsm_pin_mapping(segment);
	channel = dsm_segment_address(segment);
	requests = (shm_mq *) channel->requests;
	replies = (shm_mq *) channel->replies;
	shm_mq_set_receiver(requests, MyProc);
	shm_mq_set_sender(replies, MyProc);
	helper.stream = shared_state_stream(channel->stream);
	helper.replies = shm_mq_attach(replies, segment, NULL);
	return shm_mq_attach(requests, segment, NULL);
}

static void
connect_helper(void)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid),.entrysize = sizeof(Oid)};

	(void) snapshot_reader_connect(helper.stream);
	SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	helper.warned = hash_create("wal2kafka reselect warnings", 32, &ctl,
								HASH_ELEM | HASH_BLOBS);
	helper.context = AllocSetContextCreate(TopMemoryContext,
										   "wal2kafka reselect",
										   ALLOCSET_DEFAULT_SIZES);
	pgstat_report_activity(STATE_IDLE, "reading unchanged large values");
}

void
toast_reselect_main(Datum main_arg)
{
	shm_mq_handle *requests;

	MemoryContextSwitchTo(TopMemoryContext);
	requests = attach_channel(DatumGetUInt32(main_arg));
	if (requests == NULL)
		proc_exit(0);
	connect_helper();
	for (;;)
	{
		Question	question;
		Size		len;
		void	   *data;

		if (shm_mq_receive(requests, &len, &data, false) != SHM_MQ_SUCCESS)
			proc_exit(0);
		MemoryContextSwitchTo(helper.context);
		parse_request(data, &question);
		read_question(&question);
		send_reply(&question);
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextReset(helper.context);
	}
}
