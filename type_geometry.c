/*
 * type_geometry.c
 *		Geometric types of the server, and PostGIS: records with well-known
 *		binary (WKB).
 *
 * The server's own shapes are written here, little-endian.  PostGIS keeps a
 * format of its own, which its send functions turn into extended WKB; that is
 * sent as it is, the reference system's number included, which stands beside
 * it too.
 */
#include "postgres.h"

#include "utils/geo_decls.h"

#include "type_encode.h"
#include "type_geometry.h"

/* Flag of extended WKB's kind: the number of the reference system follows. */
#define EWKB_SRID			0x20000000
#define EWKB_SRID_SIZE		4

#define WKB_POINT			1
#define WKB_LINESTRING		2
#define WKB_POLYGON			3

#define WKB_HEADER_SIZE		5	/* byte order, kind */
#define WKB_COUNT_SIZE		4
#define WKB_POINT_SIZE		16

#define BRANCH_NULL			0
#define BRANCH_VALUE		1

static void
put_wkb_uint32(AvroBuffer *buf, uint32 n)
{
	uint8		bytes[4] = {n, n >> 8, n >> 16, n >> 24};

	avro_put_raw(buf, bytes, sizeof(bytes));
}

static void
put_wkb_header(AvroBuffer *buf, size_t size, uint32 kind)
{
	uint8		little_endian = 1;

	avro_put_long(buf, size);
	avro_put_raw(buf, &little_endian, 1);
	put_wkb_uint32(buf, kind);
}

static void
put_wkb_point(AvroBuffer *buf, const Point *point)
{
	avro_put_double(buf, point->x);
	avro_put_double(buf, point->y);
}

/* io.debezium.data.geometry.Point */
static void
put_point(AvroBuffer *buf, const Point *point)
{
	put_wkb_point(buf, point);	/* x and y are plain doubles too */
	avro_put_long(buf, BRANCH_VALUE);
	put_wkb_header(buf, WKB_HEADER_SIZE + WKB_POINT_SIZE, WKB_POINT);
	put_wkb_point(buf, point);
	avro_put_long(buf, BRANCH_NULL);	/* srid */
}

/* What follows wkb in io.debezium.data.geometry.Geometry. */
static void
put_extensions(AvroBuffer *buf, const char *type, const char *closed)
{
	avro_put_long(buf, BRANCH_NULL);	/* srid */
	avro_put_long(buf, BRANCH_VALUE);
	avro_put_long(buf, closed ? 2 : 1);
	if (closed)
	{
		avro_put_bytes(buf, "closed", strlen("closed"));
		avro_put_bytes(buf, closed, strlen(closed));
	}
	avro_put_bytes(buf, "type", strlen("type"));
	avro_put_bytes(buf, type, strlen(type));
	avro_put_long(buf, 0);
}

static void
put_linestring(AvroBuffer *buf, const Point *points, int npoints)
{
	put_wkb_header(buf, WKB_HEADER_SIZE + WKB_COUNT_SIZE +
				   (size_t) npoints * WKB_POINT_SIZE, WKB_LINESTRING);
	put_wkb_uint32(buf, npoints);
	for (int i = 0; i < npoints; i++)
		put_wkb_point(buf, &points[i]);
}

/* A polygon of one ring, which is closed here if it is not. */
static void
put_ring(AvroBuffer *buf, const Point *points, int npoints)
{
	bool		close = npoints > 0 &&
		(points[0].x != points[npoints - 1].x ||
		 points[0].y != points[npoints - 1].y);

	put_wkb_header(buf, WKB_HEADER_SIZE + 2 * WKB_COUNT_SIZE +
				   (size_t) (npoints + close) * WKB_POINT_SIZE, WKB_POLYGON);
	put_wkb_uint32(buf, 1);
	put_wkb_uint32(buf, npoints + close);
	for (int i = 0; i < npoints; i++)
		put_wkb_point(buf, &points[i]);
	if (close)
		put_wkb_point(buf, &points[0]);
}

void
encode_point(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_point(buf, DatumGetPointP(value));
}

void
encode_line(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	LINE	   *line = DatumGetLineP(value);

	avro_put_double(buf, line->A);
	avro_put_double(buf, line->B);
	avro_put_double(buf, line->C);
}

void
encode_lseg(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_linestring(buf, DatumGetLsegP(value)->p, 2);
	put_extensions(buf, "lseg", NULL);
}

void
encode_box(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	BOX		   *box = DatumGetBoxP(value);
	Point		ring[5] = {
		{box->high.x, box->high.y},
		{box->high.x, box->low.y},
		{box->low.x, box->low.y},
		{box->low.x, box->high.y},
		{box->high.x, box->high.y},
	};

	put_ring(buf, ring, lengthof(ring));
	put_extensions(buf, "box", NULL);
}

void
encode_path(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	PATH	   *path = DatumGetPathP(PointerGetDatum(type_detoast(value)));

	put_linestring(buf, path->p, path->npts);
	put_extensions(buf, "path", path->closed ? "true" : "false");
}

void
encode_polygon(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	POLYGON    *polygon = DatumGetPolygonP(PointerGetDatum(type_detoast(value)));

	put_ring(buf, polygon->p, polygon->npts);
	put_extensions(buf, "polygon", NULL);
}

void
encode_circle(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	CIRCLE	   *circle = DatumGetCircleP(value);

	put_point(buf, &circle->center);
	avro_put_double(buf, circle->radius);
}

/* ---------------------------------------------------------------------
 * PostGIS
 * --------------------------------------------------------------------- */

/* wkb and srid */
static void
put_ewkb(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	bytea	   *ewkb;
	const uint8 *data;
	int			len;
	uint32		kind = 0;
	uint32		srid = 0;

	/* Send functions detoast for themselves, with no look at the size. */
	ewkb = SendFunctionCall(&encoder->output,
							PointerGetDatum(type_detoast(value)));
	data = (const uint8 *) VARDATA_ANY(ewkb);
	len = VARSIZE_ANY_EXHDR(ewkb);

	if (len >= WKB_HEADER_SIZE + EWKB_SRID_SIZE)
	{
		bool		little_endian = data[0] != 0;

		for (int i = 0; i < 4; i++)
		{
			int			shift = little_endian ? 8 * i : 8 * (3 - i);

			kind |= (uint32) data[1 + i] << shift;
			srid |= (uint32) data[WKB_HEADER_SIZE + i] << shift;
		}
	}

	avro_put_bytes(buf, data, len);
	if (kind & EWKB_SRID)
	{
		avro_put_long(buf, BRANCH_VALUE);
		avro_put_int(buf, (int32) srid);
	}
	else
		avro_put_long(buf, BRANCH_NULL);
}

void
encode_postgis_geometry(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_ewkb(encoder, value, buf);
	avro_put_long(buf, BRANCH_NULL);	/* extensions */
}

/* Geography, and geometry before it had extensions. */
void
encode_postgis_geography(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_ewkb(encoder, value, buf);
}

/* ---------------------------------------------------------------------
 * No value, and the unavailable value
 * --------------------------------------------------------------------- */

void
zero_point(const TypeEncoder *encoder, AvroBuffer *buf)
{
	Point		origin = {0, 0};

	put_point(buf, &origin);
}

/* A and B cannot both be zero: y = 0. */
void
zero_line(const TypeEncoder *encoder, AvroBuffer *buf)
{
	LINE		line = {0, 1, 0};

	encode_line(NULL, LinePGetDatum(&line), buf);
}

/* Shapes that consumers accept: of no length or area they would not be. */
static const Point unit_segment[] = {{0, 0}, {1, 0}};
static const Point unit_square[] = {{0, 0}, {0, 1}, {1, 1}, {1, 0}};
static const Point unit_triangle[] = {{0, 0}, {1, 0}, {0, 1}};

void
zero_lseg(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_linestring(buf, unit_segment, lengthof(unit_segment));
	put_extensions(buf, "lseg", NULL);
}

void
zero_box(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_ring(buf, unit_square, lengthof(unit_square));
	put_extensions(buf, "box", NULL);
}

void
zero_path(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_linestring(buf, unit_segment, lengthof(unit_segment));
	put_extensions(buf, "path", NULL);
}

void
zero_polygon(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_ring(buf, unit_triangle, lengthof(unit_triangle));
	put_extensions(buf, "polygon", NULL);
}

void
zero_circle(const TypeEncoder *encoder, AvroBuffer *buf)
{
	zero_point(encoder, buf);
	avro_put_double(buf, 0);
}

/* An empty collection, without reference system. */
void
zero_geography(const TypeEncoder *encoder, AvroBuffer *buf)
{
	avro_put_bytes(buf, "\x01\x07\0\0\0\0\0\0\0", 9);
	avro_put_long(buf, BRANCH_NULL);
}

void
zero_geometry(const TypeEncoder *encoder, AvroBuffer *buf)
{
	zero_geography(encoder, buf);
	avro_put_long(buf, BRANCH_NULL);	/* extensions */
}
