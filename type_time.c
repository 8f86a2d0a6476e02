/*
 * type_time.c
 *		Dates, times and intervals as numbers, ISO 8601 texts and records.
 *
 * Which encoder a column gets is decided by its row in type_map.c's table
 * when the type is resolved; nothing here looks at a setting.
 *
 * Values that a form cannot say.  A number is the same in snapshot and
 * stream, in arrays and alone:
 *	- infinite dates and timestamps have numbers (texts) of their own, those
 *	  of Debezium's stream; records have specialValue;
 *	- a finite timestamp or interval beyond 64 bits of the unit becomes the
 *	  end of the range: microseconds after the year 294246, nanoseconds
 *	  before 1677 and after 2262;
 *	- 24:00 stays 24:00, in texts and records too.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "type_time.h"

#define EPOCH_DAYS		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)
#define EPOCH_USECS		((int64) EPOCH_DAYS * USECS_PER_DAY)
#define USECS_PER_MSEC	INT64CONST(1000)
#define NSECS_PER_USEC	1000

/* What Debezium streams for the infinite dates, as days and as texts. */
#define DATE_INFINITY			2146033979
#define DATE_MINUS_INFINITY		(-2147472691)
#define DATE_INFINITY_TEXT			"+5877611-06-21Z"
#define DATE_MINUS_INFINITY_TEXT	"-5877611-06-22Z"

/* And for infinite timestamps in milliseconds, and as texts. */
#define MSECS_INFINITY			INT64CONST(9223372036825200000)
#define MSECS_MINUS_INFINITY	INT64CONST(-9223372036832400000)
#define TIMESTAMP_INFINITY_TEXT			"+292278994-08-16T23:00:00Z"
#define TIMESTAMP_MINUS_INFINITY_TEXT	"-292275055-05-16T23:00:00Z"

/* In records */
#define POSITIVE_INFINITY_NAME	"POSITIVE_INFINITY"
#define NEGATIVE_INFINITY_NAME	"NEGATIVE_INFINITY"

/* 365.25 / 12 days */
#define USECS_PER_MONTH			INT64CONST(2629800000000)

/* Branches of ["null", T] */
#define BRANCH_NULL		0
#define BRANCH_VALUE	1

/* Longer than any text here; than "-5874897-12-31". */
#define MAX_TEXT		96
#define MAX_DATE_TEXT	16

static inline void
put_text(AvroBuffer *buf, const char *text)
{
	avro_put_bytes(buf, text, strlen(text));
}

/* ---------------------------------------------------------------------
 * Numbers
 * --------------------------------------------------------------------- */

static inline int64
saturate(__int128 number)
{
	if (number > PG_INT64_MAX)
		return PG_INT64_MAX;
	if (number < PG_INT64_MIN)
		return PG_INT64_MIN;
	return (int64) number;
}

/* Days since 1970 in the proleptic Gregorian calendar. */
void
encode_date(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	DateADT		date = DatumGetDateADT(value);

	if (DATE_IS_NOEND(date))
		avro_put_int(buf, DATE_INFINITY);
	else if (DATE_IS_NOBEGIN(date))
		avro_put_int(buf, DATE_MINUS_INFINITY);
	else
		avro_put_int(buf, date + EPOCH_DAYS);
}

void
encode_time_ms(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	avro_put_int(buf, DatumGetTimeADT(value) / USECS_PER_MSEC);
}

void
encode_time_ns(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	avro_put_long(buf, DatumGetTimeADT(value) * NSECS_PER_USEC);
}

void
encode_timestamp_ms(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	Timestamp	timestamp = DatumGetTimestamp(value);

	if (TIMESTAMP_NOT_FINITE(timestamp))
		avro_put_long(buf, TIMESTAMP_IS_NOEND(timestamp) ? MSECS_INFINITY :
					  MSECS_MINUS_INFINITY);
	else
	{
		int64		msecs = timestamp / USECS_PER_MSEC;

		if (timestamp % USECS_PER_MSEC < 0)
			msecs--;
		avro_put_long(buf, msecs + EPOCH_USECS / USECS_PER_MSEC);
	}
}

/* Infinities are the ends of the range.  Of either kind of timestamp. */
void
encode_timestamp_us(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	Timestamp	timestamp = DatumGetTimestamp(value);

	if (!TIMESTAMP_NOT_FINITE(timestamp))
	{
		if (likely(timestamp <= PG_INT64_MAX - EPOCH_USECS))
			timestamp += EPOCH_USECS;
		else
			timestamp = PG_INT64_MAX;
	}
	avro_put_long(buf, timestamp);
}

void
encode_timestamp_ns(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	Timestamp	timestamp = DatumGetTimestamp(value);

	if (!TIMESTAMP_NOT_FINITE(timestamp))
		timestamp = saturate(((__int128) timestamp + EPOCH_USECS) *
							 NSECS_PER_USEC);
	avro_put_long(buf, timestamp);
}

/*
 * A month is 365.25 / 12 days.  The infinite intervals of newer servers are
 * stored as the extremes of all three fields, so they become the ends of the
 * range.
 */
void
encode_interval_us(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	Interval   *interval = DatumGetIntervalP(value);
	__int128	usecs = interval->time;

	usecs += (__int128) interval->day * USECS_PER_DAY;
	usecs += (__int128) interval->month * USECS_PER_MONTH;
	avro_put_long(buf, saturate(usecs));
}

/* ---------------------------------------------------------------------
 * Texts
 * --------------------------------------------------------------------- */

/* Exactly ndigits decimal digits, with leading zeroes. */
static inline char *
put_digits(char *p, uint32 number, int ndigits)
{
	for (int i = ndigits - 1; i >= 0; i--)
	{
		p[i] = '0' + number % 10;
		number /= 10;
	}
	return p + ndigits;
}

static inline char *
put_two_digits(char *p, uint32 number)
{
	p[0] = '0' + number / 10;
	p[1] = '0' + number % 10;
	return p + 2;
}

static inline char *
put_microseconds(char *p, uint32 usecs)
{
	p = put_two_digits(p, usecs / 10000);
	p = put_two_digits(p, usecs / 100 % 100);
	return put_two_digits(p, usecs % 100);
}

/*
 * Year 0 is 1 BC.  Four digits at least; beyond, Java wants a sign.
 */
static int
render_date(char *text, int days_since_2000)
{
	char	   *p = text;
	int			year,
				month,
				day;
	int			ndigits = 4;

	j2date(days_since_2000 + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	if (year < 0)
		*p++ = '-';
	else if (year > 9999)
		*p++ = '+';
	year = abs(year);
	for (int limit = 10000; year >= limit && ndigits < 7; limit *= 10)
		ndigits++;
	p = put_digits(p, year, ndigits);
	*p++ = '-';
	p = put_two_digits(p, month);
	*p++ = '-';
	p = put_two_digits(p, day);
	return p - text;
}

/*
 * Rows that are written together are often of one day, so the last one's text
 * is kept.
 */
static inline char *
put_date(char *p, int days_since_2000)
{
	static char text[MAX_DATE_TEXT];
	static int	len = 0;
	static int	days;

	if (unlikely(days_since_2000 != days || len == 0))
	{
		len = render_date(text, days_since_2000);
		days = days_since_2000;
	}
	memcpy(p, text, sizeof(text));	/* a constant length is cheap */
	return p + len;
}

static inline char *
put_time_of_day(char *p, int64 usecs)
{
	uint32		seconds = usecs / USECS_PER_SEC;

	p = put_two_digits(p, seconds / SECS_PER_HOUR);
	*p++ = ':';
	p = put_two_digits(p, seconds / SECS_PER_MINUTE % MINS_PER_HOUR);
	*p++ = ':';
	return put_two_digits(p, seconds % SECS_PER_MINUTE);
}

/* A point and as many digits as there are; nothing for none. */
static char *
put_fraction(char *p, uint32 usecs)
{
	if (usecs != 0)
	{
		*p++ = '.';
		p = put_microseconds(p, usecs);
		while (p[-1] == '0')
			p--;
	}
	return p;
}

/* Days since 2000, and microseconds of that day, which count forward. */
static inline int
split_timestamp(Timestamp timestamp, int64 *usecs)
{
	int64		days = timestamp / USECS_PER_DAY;

	*usecs = timestamp % USECS_PER_DAY;
	if (*usecs < 0)
	{
		*usecs += USECS_PER_DAY;
		days--;
	}
	return (int) days;
}

void
encode_date_iso(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	DateADT		date = DatumGetDateADT(value);
	char		text[MAX_TEXT];
	char	   *p;

	if (DATE_NOT_FINITE(date))
	{
		put_text(buf, DATE_IS_NOEND(date) ? DATE_INFINITY_TEXT :
				 DATE_MINUS_INFINITY_TEXT);
		return;
	}
	p = put_date(text, date);
	*p++ = 'Z';
	avro_put_bytes(buf, text, p - text);
}

static void
put_time_text(AvroBuffer *buf, int64 usecs)
{
	char		text[MAX_TEXT];
	char	   *p;

	p = put_time_of_day(text, usecs);
	p = put_fraction(p, usecs % USECS_PER_SEC);
	*p++ = 'Z';
	avro_put_bytes(buf, text, p - text);
}

void
encode_time_iso(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_time_text(buf, DatumGetTimeADT(value));
}

/* In UTC, where the time of day may be another day's.  24:00 UTC stays. */
void
encode_timetz(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	TimeTzADT  *timetz = DatumGetTimeTzADTP(value);
	int64		usecs = timetz->time + timetz->zone * USECS_PER_SEC;

	if (usecs != USECS_PER_DAY || timetz->zone != 0)
	{
		usecs %= USECS_PER_DAY;
		if (usecs < 0)
			usecs += USECS_PER_DAY;
	}
	put_time_text(buf, usecs);
}

void
encode_timestamp_iso(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	Timestamp	timestamp = DatumGetTimestamp(value);
	int64		usecs;
	char		text[MAX_TEXT];
	char	   *p;

	if (TIMESTAMP_NOT_FINITE(timestamp))
	{
		put_text(buf, TIMESTAMP_IS_NOEND(timestamp) ?
				 TIMESTAMP_INFINITY_TEXT : TIMESTAMP_MINUS_INFINITY_TEXT);
		return;
	}
	p = put_date(text, split_timestamp(timestamp, &usecs));
	*p++ = 'T';
	p = put_time_of_day(p, usecs);
	p = put_fraction(p, usecs % USECS_PER_SEC);
	*p++ = 'Z';
	avro_put_bytes(buf, text, p - text);
}

/* In UTC, with exactly the type's number of fraction digits. */
void
encode_timestamptz(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	TimestampTz timestamp = DatumGetTimestampTz(value);
	int64		usecs;
	char		text[MAX_TEXT];
	char	   *p;

	if (TIMESTAMP_NOT_FINITE(timestamp))
	{
		put_text(buf, TIMESTAMP_IS_NOEND(timestamp) ? "infinity" : "-infinity");
		return;
	}
	p = put_date(text, split_timestamp(timestamp, &usecs));
	*p++ = 'T';
	p = put_time_of_day(p, usecs);
	if (encoder->precision > 0)
	{
		*p++ = '.';
		put_microseconds(p, usecs % USECS_PER_SEC);
		p += encoder->precision;
	}
	*p++ = 'Z';
	avro_put_bytes(buf, text, p - text);
}

/*
 * What an interval's fields mean, taken apart as PostgreSQL shows them: each
 * with a sign of its own.
 */
typedef struct IntervalParts
{
	int			years;
	int			months;
	int			days;
	int64		hours;
	int			minutes;
	int			seconds;
	int			usecs;
} IntervalParts;

static void
split_interval(const Interval *interval, IntervalParts *parts)
{
	int64		time = interval->time;

	parts->years = interval->month / MONTHS_PER_YEAR;
	parts->months = interval->month % MONTHS_PER_YEAR;
	parts->days = interval->day;
	parts->hours = time / USECS_PER_HOUR;
	time %= USECS_PER_HOUR;
	parts->minutes = time / USECS_PER_MINUTE;
	time %= USECS_PER_MINUTE;
	parts->seconds = time / USECS_PER_SEC;
	parts->usecs = time % USECS_PER_SEC;
}

static inline char *
put_number(char *p, int64 number, char unit)
{
	p += pg_lltoa(number, p);
	*p++ = unit;
	return p;
}

/* P1Y2M3DT4H5M6.789S, every field always. */
void
encode_interval_iso(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	Interval   *interval = DatumGetIntervalP(value);
	int			infinity = compat_interval_infinity(interval);
	IntervalParts parts;
	char		text[MAX_TEXT];
	char	   *p = text;

	if (unlikely(infinity != 0))
	{
		put_text(buf, infinity > 0 ? "infinity" : "-infinity");
		return;
	}
	split_interval(interval, &parts);
	*p++ = 'P';
	p = put_number(p, parts.years, 'Y');
	p = put_number(p, parts.months, 'M');
	p = put_number(p, parts.days, 'D');
	*p++ = 'T';
	p = put_number(p, parts.hours, 'H');
	p = put_number(p, parts.minutes, 'M');
	if (parts.seconds < 0 || parts.usecs < 0)
		*p++ = '-';
	p += pg_lltoa(abs(parts.seconds), p);
	p = put_fraction(p, abs(parts.usecs));
	*p++ = 'S';
	avro_put_bytes(buf, text, p - text);
}

/* ---------------------------------------------------------------------
 * Records of optional fields
 * --------------------------------------------------------------------- */

static inline void
put_field(AvroBuffer *buf, int64 number)
{
	avro_put_long(buf, BRANCH_VALUE);
	avro_put_long(buf, number);
}

static inline void
put_text_field(AvroBuffer *buf, const char *text)
{
	avro_put_long(buf, BRANCH_VALUE);
	put_text(buf, text);
}

static inline void
put_null_fields(AvroBuffer *buf, int n)
{
	while (n-- > 0)
		avro_put_long(buf, BRANCH_NULL);
}

static void
put_date_fields(AvroBuffer *buf, int days_since_2000)
{
	int			year,
				month,
				day;

	j2date(days_since_2000 + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	put_field(buf, year);
	put_field(buf, month);
	put_field(buf, day);
}

/* hour, minute, second, nanos */
static void
put_time_fields(AvroBuffer *buf, int64 usecs)
{
	int			seconds = usecs / USECS_PER_SEC;

	put_field(buf, seconds / SECS_PER_HOUR);
	put_field(buf, seconds / SECS_PER_MINUTE % MINS_PER_HOUR);
	put_field(buf, seconds % SECS_PER_MINUTE);
	put_field(buf, usecs % USECS_PER_SEC * NSECS_PER_USEC);
}

void
encode_date_structured(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	DateADT		date = DatumGetDateADT(value);

	if (DATE_NOT_FINITE(date))
	{
		put_null_fields(buf, 3);
		put_text_field(buf, DATE_IS_NOEND(date) ? POSITIVE_INFINITY_NAME :
					   NEGATIVE_INFINITY_NAME);
		return;
	}
	put_date_fields(buf, date);
	put_null_fields(buf, 1);	/* specialValue */
}

void
encode_time_structured(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_time_fields(buf, DatumGetTimeADT(value));
	put_field(buf, encoder->precision);
}

/* As it was entered, with its own offset (east of Greenwich). */
void
encode_timetz_structured(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	TimeTzADT  *timetz = DatumGetTimeTzADTP(value);

	put_time_fields(buf, timetz->time);
	put_field(buf, -timetz->zone);
	put_field(buf, encoder->precision);
}

/*
 * nzone fields of the zone's come between time of day and specialValue; zone
 * NULL: the second of them is null.
 */
static void
put_timestamp_fields(const TypeEncoder *encoder, Timestamp timestamp,
					 int nzone, const char *zone, AvroBuffer *buf)
{
	if (TIMESTAMP_NOT_FINITE(timestamp))
	{
		put_null_fields(buf, 7 + nzone);
		put_text_field(buf, TIMESTAMP_IS_NOEND(timestamp) ?
					   POSITIVE_INFINITY_NAME : NEGATIVE_INFINITY_NAME);
	}
	else
	{
		int64		usecs;

		put_date_fields(buf, split_timestamp(timestamp, &usecs));
		put_time_fields(buf, usecs);
		if (nzone > 0)
		{
			put_field(buf, 0);	/* offsetSeconds */
			if (zone)
				put_text_field(buf, zone);
			else
				put_null_fields(buf, 1);
		}
		put_null_fields(buf, 1);	/* specialValue */
	}
	put_field(buf, encoder->precision);
}

void
encode_timestamp_structured(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	put_timestamp_fields(encoder, DatumGetTimestamp(value), 0, NULL, buf);
}

/* In UTC */
void
encode_timestamptz_structured(TypeEncoder *encoder, Datum value,
							  AvroBuffer *buf)
{
	put_timestamp_fields(encoder, DatumGetTimestampTz(value), 2, "Z", buf);
}

/*
 * The number of hours is an int; the rest of longer times is among the
 * seconds, which are a long.  The infinite intervals of newer servers have no
 * name here: every field is at the end of its range.
 */
void
encode_interval_structured(TypeEncoder *encoder, Datum value, AvroBuffer *buf)
{
	Interval   *interval = DatumGetIntervalP(value);
	int			infinity = compat_interval_infinity(interval);
	IntervalParts parts;
	int64		hours;

	if (unlikely(infinity != 0))
	{
		int			end = infinity > 0 ? PG_INT32_MAX : PG_INT32_MIN;

		for (int i = 0; i < 5; i++)
			put_field(buf, end);
		put_field(buf, infinity > 0 ? PG_INT64_MAX : PG_INT64_MIN);
		put_field(buf, end);
		put_field(buf, encoder->precision);
		return;
	}
	split_interval(interval, &parts);
	hours = Min(Max(parts.hours, PG_INT32_MIN), PG_INT32_MAX);
	put_field(buf, parts.years);
	put_field(buf, parts.months);
	put_field(buf, parts.days);
	put_field(buf, hours);
	put_field(buf, parts.minutes);
	put_field(buf, parts.seconds + (parts.hours - hours) * SECS_PER_HOUR);
	put_field(buf, parts.usecs * NSECS_PER_USEC);
	put_field(buf, encoder->precision);
}

/* ---------------------------------------------------------------------
 * No value
 * --------------------------------------------------------------------- */

/* Encoders of these types look at the type, and do not write to it. */
void
zero_temporal(const TypeEncoder *encoder, AvroBuffer *buf)
{
	TypeEncoder copy = *encoder;
	TimeTzADT	midnight = {0};
	Interval	nothing = {0};
	Datum		value = (Datum) 0;

	switch (encoder->typid)
	{
		case DATEOID:
			value = DateADTGetDatum(-EPOCH_DAYS);
			break;
		case TIMEOID:
			value = TimeADTGetDatum(0);
			break;
		case TIMETZOID:
			value = TimeTzADTPGetDatum(&midnight);
			break;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			value = TimestampGetDatum(-EPOCH_USECS);
			break;
		case INTERVALOID:
			value = IntervalPGetDatum(&nothing);
			break;
	}
	copy.encode(&copy, value, buf);
}

void
zero_timestamptz_unknown(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_text(buf, "1970-01-01T00:00:00Z");
}

void
zero_timestamptz_structured(const TypeEncoder *encoder, AvroBuffer *buf)
{
	put_timestamp_fields(encoder, -EPOCH_USECS, 2, NULL, buf);
}
