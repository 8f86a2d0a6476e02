/*
 * ReadTopics.java
 *		Reads topics with Spark SQL and from_avro, as a batch and as a stream.
 *
 *	java ReadTopics BROKERS REGISTRY DIR TOPIC... -- TOPIC... -- TOPIC...
 *
 * Makes tables from the events of the topics before the first "--", with
 * DIR/batch/<table>.json for each and records.json with how many records there
 * were; from those after it through structured streaming and Parquet into
 * DIR/stream; and from the last ones into DIR/native.
 */
import static org.apache.spark.sql.avro.functions.from_avro;
import static org.apache.spark.sql.functions.array;
import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.explode;
import static org.apache.spark.sql.functions.expr;
import static org.apache.spark.sql.functions.lit;
import static org.apache.spark.sql.functions.row_number;
import static org.apache.spark.sql.functions.struct;
import static org.apache.spark.sql.functions.sum;
import static org.apache.spark.sql.functions.udf;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

import com.fasterxml.jackson.databind.ObjectMapper;

import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.api.java.UDF1;
import org.apache.spark.sql.expressions.UserDefinedFunction;
import org.apache.spark.sql.expressions.Window;
import org.apache.spark.sql.streaming.StreamingQuery;
import org.apache.spark.sql.streaming.Trigger;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;

public class ReadTopics {
	private final SparkSession spark;
	private final String brokers;
	private final String registry;
	private final HttpClient http = HttpClient.newHttpClient();

	/** io.debezium.data.VariableScaleDecimal */
	private final UserDefinedFunction variableScale = udf((UDF1<Row, String>) row -> row == null ? null
			: new BigDecimal(new BigInteger(row.<byte[]>getAs("value")), row.<Integer>getAs("scale")).toString(),
			DataTypes.StringType);

	private ReadTopics(SparkSession spark, String brokers, String registry) {
		this.spark = spark;
		this.brokers = brokers;
		this.registry = registry;
	}

	public static void main(String[] args) throws Exception {
		SparkSession spark = SparkSession.builder().master("local[2]")
				.config("spark.ui.enabled", "false")
				.config("spark.sql.shuffle.partitions", "2")
				.config("spark.sql.session.timeZone", "UTC")
				.config("spark.sql.jsonGenerator.ignoreNullFields", "false")
				.getOrCreate();
		spark.sparkContext().setLogLevel("WARN");
		ReadTopics reader = new ReadTopics(spark, args[0], args[1]);
		List<String> topics = Arrays.asList(args).subList(3, args.length);
		int first = topics.indexOf("--");
		int second = topics.lastIndexOf("--");
		boolean good = reader.batch(topics.subList(0, first), Path.of(args[2], "batch"));
		good &= reader.stream(topics.subList(first + 1, second), Path.of(args[2], "stream"));
		good &= reader.batch(topics.subList(second + 1, topics.size()), Path.of(args[2], "native"));
		System.exit(good ? 0 : 1);
	}

	// ----------
	// Decoding
	// ----------

	private String schema(String path) throws Exception {
		HttpResponse<String> answer = http.send(HttpRequest.newBuilder(URI.create(registry + path)).build(),
				HttpResponse.BodyHandlers.ofString());
		if (answer.statusCode() != 200) {
			throw new IllegalStateException(path + ": " + answer.body());
		}
		return new ObjectMapper().readTree(answer.body()).get("schema").textValue();
	}

	/** Records with the id of the schema that is in front of the value. */
	private static Dataset<Row> withId(Dataset<Row> records) {
		return records.withColumn("id", expr("int(conv(hex(substring(value, 2, 4)), 16, 10))"));
	}

	/*
	 * Every id needs its own writer's schema; what it lacks of the newest is
	 * null.  By default a record that cannot be read is a silent null, and a
	 * date before 1582 cannot be read.
	 */
	private Dataset<Row> decode(Dataset<Row> records, List<Integer> ids, String topic) throws Exception {
		String newest = schema("/subjects/" + topic + "-value/versions/latest");
		Dataset<Row> events = null;
		for (int id : ids) {
			Dataset<Row> part = withId(records).filter(col("id").equalTo(id))
					.withColumn("event", from_avro(expr("substring(value, 6)"), schema("/schemas/ids/" + id),
							Map.of("avroSchema", newest, "mode", "FAILFAST", "datetimeRebaseMode", "CORRECTED")))
					.select("key", "partition", "offset", "event");
			events = events == null ? part : events.union(part);
		}
		return events;
	}

	private List<Integer> ids(Dataset<Row> records) {
		List<Integer> ids = new ArrayList<>();
		for (Row row : withId(records).filter("value IS NOT NULL").select("id").distinct().orderBy("id").collectAsList()) {
			ids.add(row.getInt(0));
		}
		return ids;
	}

	private Dataset<Row> records(String topic) {
		return spark.read().format("kafka").option("kafka.bootstrap.servers", brokers)
				.option("subscribe", topic).option("startingOffsets", "earliest")
				.option("endingOffsets", "latest").load();
	}

	// ----------
	// From events to tables
	// ----------

	private static Dataset<Row> lastByKey(Dataset<Row> events) {
		return events.withColumn("age", row_number().over(Window.partitionBy("key").orderBy(col("offset").desc())))
				.filter("age = 1 AND event.op <> 'd'").select("event.after.*");
	}

	/** Each event takes a row away, or adds one, or does both. */
	private static Dataset<Row> withoutKey(Dataset<Row> events) {
		return events
				.select(explode(array(struct(col("event.before").as("row"), lit(-1).as("sign")),
						struct(col("event.after").as("row"), lit(1).as("sign")))).as("change"))
				.filter("change.row IS NOT NULL")
				.groupBy("change.row").agg(sum("change.sign").as("count"))
				.filter("count > 0").withColumn("each", explode(expr("sequence(1, count)")))
				.select("row.*");
	}

	private void write(Dataset<Row> rows, Path path) throws Exception {
		List<Column> columns = new ArrayList<>();
		for (StructField field : rows.schema().fields()) {
			boolean variable = field.dataType() instanceof StructType
					&& Arrays.equals(((StructType) field.dataType()).fieldNames(), new String[] {"scale", "value"});
			Column column = col("`" + field.name() + "`");
			// toJSON would cut microseconds off, and write 1582-10-10 as 1582-10-15
			boolean moment = field.dataType().typeName().startsWith("timestamp")
					|| field.dataType().equals(DataTypes.DateType);
			columns.add(variable ? variableScale.apply(column).as(field.name())
					: moment ? column.cast("string") : column);
		}
		Files.write(path, rows.select(columns.toArray(new Column[0])).toJSON().collectAsList());
	}

	private boolean batch(List<String> topics, Path folder) throws Exception {
		List<String> counts = new ArrayList<>();
		boolean good = true;
		Files.createDirectories(folder);
		for (String topic : topics) {
			try {
				Dataset<Row> records = records(topic).cache();
				Dataset<Row> events = decode(records, ids(records), topic).cache();
				Row any = events.select("event.source.table", "key").first();
				write(any.isNullAt(1) ? withoutKey(events) : lastByKey(events), folder.resolve(any.getString(0) + ".json"));
				long count = events.count() + records.filter("value IS NULL").count();
				counts.add(String.format("{\"topic\": \"%s\", \"records\": %d}", topic, count));
			} catch (Exception error) {
				System.err.println("batch of " + topic);
				error.printStackTrace();
				good = false;
			}
		}
		Files.write(folder.resolve("records.json"), counts);
		return good;
	}

	private boolean stream(List<String> topics, Path folder) throws Exception {
		boolean good = true;
		Files.createDirectories(folder);
		for (String topic : topics) {
			try {
				Dataset<Row> live = spark.readStream().format("kafka").option("kafka.bootstrap.servers", brokers)
						.option("subscribe", topic).option("startingOffsets", "earliest")
						.option("maxOffsetsPerTrigger", 200).load();
				String parquet = folder.resolve(topic + ".parquet").toString();
				StreamingQuery query = decode(live, ids(records(topic)), topic).writeStream().format("parquet")
						.option("path", parquet)
						.option("checkpointLocation", folder.resolve(topic + ".checkpoint").toString())
						.trigger(Trigger.AvailableNow()).start();
				query.awaitTermination();
				Dataset<Row> events = spark.read().parquet(parquet);
				String table = events.select("event.source.table").first().getString(0);
				write(lastByKey(events), folder.resolve(table + ".json"));
			} catch (Exception error) {
				System.err.println("stream of " + topic);
				error.printStackTrace();
				good = false;
			}
		}
		return good;
	}
}
