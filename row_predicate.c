/*
 * row_predicate.c
 *		A condition on the rows of a table that somebody asked for by SQL.
 *
 * The text comes from a user and is kept for days: it must mean the same
 * wherever it is read, and have no effect.  So it is parsed as one expression
 * and nothing else, with the settings that decoding is pinned to, and may
 * have what is built in and immutable, as a publication's row filter.  Other
 * than there all columns may occur, since a whole row is at hand.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_clause.h"
#include "parser/parse_collate.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parse_type.h"
#include "parser/parser.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

#include "compat.h"
#include "decoder.h"
#include "row_predicate.h"

struct RowPredicate
{
	EState	   *estate;			/* owns everything */
	ExprState  *state;
	char	   *schema_name;	/* of the table, for errors */
	char	   *table_name;
};

/* While a predicate is made. */
typedef struct PredicateSource
{
	const char *text;
	const char *schema_name;
	const char *table_name;
	Relation	relation;
	ParseState *pstate;
	Oid			function;		/* that was found not to be allowed */
} PredicateSource;

static void reject(PredicateSource *source, Node *node, const char *detail)
			__attribute__((noreturn));

/*
 * Positions in errors are the predicate's, not those of the query that it
 * came with.
 */
static void
name_source(void *arg)
{
	const PredicateSource *source = arg;
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(source->text);
	}
	errcontext("predicate for table \"%s.%s\"", source->schema_name,
			   source->table_name);
}

static void
name_table(void *arg)
{
	const RowPredicate *predicate = arg;

	errcontext("predicate for table \"%s.%s\"", predicate->schema_name,
			   predicate->table_name);
}

static void
reject(PredicateSource *source, Node *node, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("invalid predicate for table \"%s.%s\"",
					source->schema_name, source->table_name),
			 errdetail("%s", detail),
			 errhint("It may have what a publication's row filter may: the table's columns, constants, and operators, functions, types and collations that are built in and immutable."),
			 source->pstate ?
			 parser_errposition(source->pstate, exprLocation(node)) : 0));
}

/*
 * Looking at a subquery would lock what it reads.
 */
static bool
reject_subqueries(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink) || IsA(node, SelectStmt))
		reject(arg, node, "Subqueries are not allowed.");
	return raw_expression_tree_walker(node, reject_subqueries, arg);
}

/*
 * The one expression that the text consists of.  The grammar's entry point
 * for expressions takes all that may follow SELECT.
 */
static Node *
parse_expression(PredicateSource *source)
{
	List	   *trees = raw_parser(source->text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = castNode(SelectStmt, linitial_node(RawStmt,
															trees)->stmt);
	ResTarget  *target = NULL;

	if (list_length(select->targetList) == 1)
		target = linitial_node(ResTarget, select->targetList);
	if (target == NULL || target->name != NULL ||
		select->distinctClause != NIL || select->fromClause != NIL ||
		select->whereClause != NULL || select->groupClause != NIL ||
		select->havingClause != NULL || select->windowClause != NIL ||
		select->sortClause != NIL || select->limitOffset != NULL ||
		select->limitCount != NULL || select->lockingClause != NIL ||
		(IsA(target->val, ColumnRef) &&
		 IsA(linitial(((ColumnRef *) target->val)->fields), A_Star)))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("invalid predicate for table \"%s.%s\"",
						source->schema_name, source->table_name),
				 errdetail("It must be one expression, such as could follow WHERE.")));
	(void) reject_subqueries(target->val, source);
	return target->val;
}

/*
 * Is the name one of a schema that anybody may fill?
 */
static bool
is_foreign_name(const List *name)
{
	return list_length(name) > 1 &&
		strcmp(strVal(linitial(name)), "pg_catalog") != 0;
}

static void
reject_type(PredicateSource *source, Node *node, Oid type)
{
	if (type >= FirstNormalObjectId)
		reject(source, node, psprintf("Type %s is not built in.",
									  format_type_be(type)));
}

/*
 * A column, or by "*" or the table's name the whole row.
 */
static void
check_column_name(PredicateSource *source, ColumnRef *ref)
{
	TupleDesc	desc = RelationGetDescr(source->relation);
	Node	   *last = llast(ref->fields);

	for (int i = 0; IsA(last, String) && i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped ||
			strcmp(NameStr(att->attname), strVal(last)) != 0)
			continue;
		reject_type(source, (Node *) ref, att->atttypid);
		return;
	}
	if (!IsA(last, String) || (list_length(ref->fields) == 1 &&
							   strcmp(strVal(last),
									  source->table_name) == 0))
		reject_type(source, (Node *) ref,
					source->relation->rd_rel->reltype);
}

/*
 * What is not built in is rejected before the expression is analyzed, too:
 * that reads literals, and to read one of a domain in an array or a row runs
 * the domain's constraints, which are somebody's functions.
 */
static bool
check_raw_names(Node *node, void *arg)
{
	PredicateSource *source = arg;

	if (node == NULL)
		return false;
	if (IsA(node, ColumnRef))
		check_column_name(source, (ColumnRef *) node);
	else if (IsA(node, TypeName))
		reject_type(source, node,
					LookupTypeNameOid(NULL, (TypeName *) node, true));
	else if (IsA(node, FuncCall) &&
			 is_foreign_name(((FuncCall *) node)->funcname))
		reject(source, node,
			   psprintf("Function %s is not built in.",
						NameListToString(((FuncCall *) node)->funcname)));
	else if (IsA(node, A_Expr) && is_foreign_name(((A_Expr *) node)->name))
		reject(source, node,
			   psprintf("Operator %s is not built in.",
						NameListToString(((A_Expr *) node)->name)));
	return raw_expression_tree_walker(node, check_raw_names, arg);
}

static Oid
operator_of(Node *node)
{
	switch (nodeTag(node))
	{
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			return ((OpExpr *) node)->opno;
		case T_ScalarArrayOpExpr:
			return ((ScalarArrayOpExpr *) node)->opno;
		default:
			return InvalidOid;
	}
}

static void
check_operator(PredicateSource *source, Node *node, Oid operator)
{
	if (operator >= FirstNormalObjectId)
		reject(source, node,
			   psprintf("Operator %s is not built in.",
						format_operator(operator)));
}

/*
 * Is this kind of node one that a predicate may have?
 */
static bool
kind_allowed(Node *node)
{
	switch (nodeTag(node))
	{
		case T_Var:
		case T_Const:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_RowCompareExpr:
		case T_FuncExpr:
		case T_BoolExpr:
		case T_RelabelType:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseTestExpr:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_XmlExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_List:
			return true;
		default:
			return false;
	}
}

static bool
function_not_allowed(Oid function, void *arg)
{
	PredicateSource *source = arg;

	source->function = function;
	return function >= FirstNormalObjectId ||
		func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

static void
check_names(PredicateSource *source, Node *node)
{
	Oid			collation = exprCollation(node);

	reject_type(source, node, exprType(node));
	if (check_functions_in_node(node, function_not_allowed, source))
		reject(source, node,
			   psprintf(source->function >= FirstNormalObjectId ?
						"Function %s is not built in." :
						"Function %s is not immutable.",
						format_procedure(source->function)));
	if (collation < FirstNormalObjectId)
		collation = exprInputCollation(node);
	if (collation >= FirstNormalObjectId)
		reject(source, node,
			   psprintf("Collation %s is not built in.",
						quote_identifier(get_collation_name(collation))));
}

/*
 * The rules of a publication's row filter.
 */
static bool
check_expression(Node *node, void *arg)
{
	PredicateSource *source = arg;

	if (node == NULL)
		return false;
	if (!kind_allowed(node))
		reject(source, node, "It has a kind of expression that is not allowed.");
	if (IsA(node, Var) && ((Var *) node)->varattno < InvalidAttrNumber)
		reject(source, node, "System columns are not allowed.");
	check_operator(source, node, operator_of(node));
	if (IsA(node, RowCompareExpr))
	{
		ListCell   *cell;

		foreach(cell, ((RowCompareExpr *) node)->opnos)
			check_operator(source, node, lfirst_oid(cell));
	}
	if (!IsA(node, List))
		check_names(source, node);
	return expression_tree_walker(node, check_expression, arg);
}

static Node *
analyze(PredicateSource *source, Relation relation)
{
	Node	   *expression = parse_expression(source);
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item;

	pstate->p_sourcetext = source->text;
	source->pstate = pstate;
	(void) check_raw_names(expression, source);
	item = addRangeTableEntryForRelation(pstate, relation, AccessShareLock,
										 NULL, false, false);
	addNSItemToQuery(pstate, item, false, true, true);
	expression = transformWhereClause(pstate, expression, EXPR_KIND_WHERE,
									  "predicate");
	assign_expr_collations(pstate, expression);
	expression = compat_filter_expr(expression, relation);
	(void) check_expression(expression, source);
	free_parsestate(pstate);
	return expression;
}

RowPredicate *
row_predicate_create(Relation relation, const char *text)
{
	EState	   *estate = CreateExecutorState();
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	RowPredicate *predicate = palloc0(sizeof(RowPredicate));
	PredicateSource source = {.text = text};
	ErrorContextCallback callback;
	int			nest_level;

	predicate->estate = estate;
	predicate->schema_name =
		get_namespace_name(RelationGetNamespace(relation));
	predicate->table_name = pstrdup(RelationGetRelationName(relation));
	source.schema_name = predicate->schema_name;
	source.table_name = predicate->table_name;
	source.relation = relation;

	callback.callback = name_source;
	callback.arg = &source;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	/* names, and how constants are written, must not depend on the session */
	nest_level = decoder_pin_settings();
	predicate->state = ExecPrepareExpr((Expr *) analyze(&source, relation),
									   estate);
	AtEOXact_GUC(true, nest_level);

	error_context_stack = callback.previous;
	MemoryContextSwitchTo(old);
	return predicate;
}

bool
row_predicate_passes(RowPredicate *predicate, TupleTableSlot *slot)
{
	ExprContext *context = GetPerTupleExprContext(predicate->estate);
	ErrorContextCallback callback;
	Datum		result;
	bool		isnull;

	callback.callback = name_table;
	callback.arg = predicate;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	ResetExprContext(context);
	context->ecxt_scantuple = slot;
	result = ExecEvalExprSwitchContext(predicate->state, context, &isnull);

	error_context_stack = callback.previous;
	return !isnull && DatumGetBool(result);
}

void
row_predicate_free(RowPredicate *predicate)
{
	FreeExecutorState(predicate->estate);
}
