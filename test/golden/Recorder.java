/*
 * Recorder.java
 *		Drives Debezium's connector and prints every record that it writes.
 *
 * Run by "record", which see.  Arguments: a properties file, the output file.
 * The task's start() and poll() are called as Kafka Connect would call them,
 * the configured transforms are applied, and each record is printed as
 * AvroData and JsonConverter convert it.  A logical message with the prefix
 * w2k-record-sync or w2k-record-end is not printed: it reports "synced" or
 * ends the run.
 */

import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicBoolean;

import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.Configurable;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.source.SourceConnector;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.source.SourceTask;
import org.apache.kafka.connect.source.SourceTaskContext;
import org.apache.kafka.connect.storage.OffsetStorageReader;
import org.apache.kafka.connect.storage.SimpleHeaderConverter;
import org.apache.kafka.connect.transforms.Transformation;
import org.apache.kafka.connect.transforms.predicates.Predicate;

public class Recorder
{
	private static final String MARK = "w2k-record-";
	private static final long IDLE_MS = 3000;

	private final Map<String, String> config = new TreeMap<>();
	private final Map<String, String> own = new HashMap<>();
	private final Map<String, String> aliases = new HashMap<>();
	private final Map<String, String> jsonAliases = new HashMap<>();
	private final AtomicBoolean asked = new AtomicBoolean();
	private final PrintStream out;

	private final Object avroData;
	private final Method toAvroSchema;
	private final Method toAvro;
	private final JsonConverter[][] json = new JsonConverter[2][2];
	private final SimpleHeaderConverter headerConverter = new SimpleHeaderConverter();
	private final List<Step> steps = new ArrayList<>();

	/* one transform with its predicate */
	private static class Step
	{
		Transformation<SourceRecord> transform;
		Predicate<SourceRecord> predicate;
		boolean negate;
	}

	public static void main(String[] args) throws Exception
	{
		try (PrintStream out = new PrintStream(args[1], "UTF-8"))
		{
			new Recorder(args[0], out).run();
		}
		System.exit(0);
	}

	Recorder(String file, PrintStream out) throws Exception
	{
		this.out = out;
		Properties properties = new Properties();
		try (FileInputStream in = new FileInputStream(file))
		{
			properties.load(in);
		}
		for (String name : properties.stringPropertyNames())
		{
			String value = properties.getProperty(name);
			if (name.startsWith("x."))
				own.put(name.substring(2), value);
			else
				config.put(name, value);
		}
		Class<?> data = avroDataClass();
		avroData = newAvroData(data);
		toAvroSchema = data.getMethod("fromConnectSchema", Schema.class);
		toAvro = data.getMethod("fromConnectData", Schema.class, Object.class);
		for (int schemas = 0; schemas < 2; schemas++)
		{
			for (int key = 0; key < 2; key++)
			{
				Map<String, String> options = below(own, "json.");
				options.put("schemas.enable", schemas == 1 ? "true" : "false");
				json[schemas][key] = new JsonConverter();
				json[schemas][key].configure(options, key == 1);
			}
		}
		headerConverter.configure(new HashMap<>());
		makeSteps();
	}

	/* Confluent's own class when it is there, else Apicurio's copy of it. */
	private static Class<?> avroDataClass() throws Exception
	{
		try
		{
			return Class.forName("io.confluent.connect.avro.AvroData");
		}
		catch (ClassNotFoundException e)
		{
			return Class.forName("io.apicurio.registry.utils.converter.avro.AvroData");
		}
	}

	private Object newAvroData(Class<?> data) throws Exception
	{
		Class<?> options = Class.forName(data.getName() + "Config");
		Object made = options.getConstructor(Map.class).newInstance(below(own, "avro."));
		return data.getConstructor(options).newInstance(made);
	}

	private static Map<String, String> below(Map<String, String> map, String prefix)
	{
		Map<String, String> found = new HashMap<>();
		for (Map.Entry<String, String> entry : map.entrySet())
			if (entry.getKey().startsWith(prefix))
				found.put(entry.getKey().substring(prefix.length()), entry.getValue());
		return found;
	}

	@SuppressWarnings("unchecked")
	private <T extends Configurable> T make(String prefix) throws Exception
	{
		Map<String, String> options = below(config, prefix);
		T made = (T) Class.forName(options.get("type")).getDeclaredConstructor().newInstance();
		options.remove("type");
		options.remove("predicate");
		options.remove("negate");
		made.configure(options);
		return made;
	}

	private void makeSteps() throws Exception
	{
		for (String name : config.getOrDefault("transforms", "").split(","))
		{
			name = name.trim();
			if (name.isEmpty())
				continue;
			Step step = new Step();
			step.transform = make("transforms." + name + ".");
			String predicate = config.get("transforms." + name + ".predicate");
			if (predicate != null)
				step.predicate = make("predicates." + predicate + ".");
			step.negate = Boolean.parseBoolean(config.get("transforms." + name + ".negate"));
			steps.add(step);
		}
	}

	private void run() throws Exception
	{
		SourceConnector connector = (SourceConnector)
			Class.forName(config.get("connector.class")).getDeclaredConstructor().newInstance();
		connector.start(config);
		Map<String, String> taskConfig = new HashMap<>(connector.taskConfigs(1).get(0));
		taskConfig.put("task.id", "0");
		SourceTask task = (SourceTask) connector.taskClass().getDeclaredConstructor().newInstance();
		task.initialize(new Context(taskConfig));
		listen();
		try
		{
			task.start(taskConfig);
			pollUntilEnd(task);
		}
		catch (Throwable e)
		{
			for (Throwable t = e; t != null; t = t.getCause())
				out.println("### ERROR " + t.getClass().getName() + ": " + t.getMessage());
			e.printStackTrace();
		}
		out.flush();
		System.out.println("ended");
		System.out.flush();
		task.stop();
		connector.stop();
	}

	/* "end" on standard input: end when nothing comes any more */
	private void listen()
	{
		Thread reader = new Thread(() ->
		{
			try
			{
				while (System.in.read() >= 0)
					asked.set(true);
			}
			catch (java.io.IOException e)
			{
				asked.set(true);
			}
		});
		reader.setDaemon(true);
		reader.start();
	}

	private void pollUntilEnd(SourceTask task) throws Exception
	{
		long last = System.currentTimeMillis();

		for (;;)
		{
			List<SourceRecord> records = task.poll();
			if (records == null || records.isEmpty())
			{
				if (asked.get() && System.currentTimeMillis() - last > IDLE_MS)
					return;
				continue;
			}
			last = System.currentTimeMillis();
			for (SourceRecord record : records)
			{
				String mark = mark(record);
				if (mark == null)
					write(record);
				else if (mark.equals("end"))
					return;
				else
				{
					out.flush();
					System.out.println("synced");
					System.out.flush();
				}
				task.commitRecord(record, null);
			}
		}
	}

	private static String mark(SourceRecord record)
	{
		if (!(record.key() instanceof Struct) || !record.keySchema().name().endsWith(".MessageKey"))
			return null;
		String prefix = ((Struct) record.key()).getString("prefix");
		return prefix != null && prefix.startsWith(MARK) ? prefix.substring(MARK.length()) : null;
	}

	private void write(SourceRecord record) throws Exception
	{
		String topic = record.topic();

		for (Step step : steps)
		{
			if (step.predicate != null && step.predicate.test(record) == step.negate)
				continue;
			record = step.transform.apply(record);
			if (record == null)
			{
				out.println("### dropped topic=" + topic + " by " +
							step.transform.getClass().getSimpleName());
				return;
			}
		}
		out.println("### topic=" + record.topic() + " partition=" + record.kafkaPartition() +
					" ts=" + record.timestamp());
		out.println("  offset=" + record.sourceOffset() + " srcpart=" + record.sourcePartition());
		for (Header header : record.headers())
			writeHeader(record.topic(), header);
		writePart("key", record.topic(), record.keySchema(), record.key());
		writePart("value", record.topic(), record.valueSchema(), record.value());
		writeJson("key", 1, record.topic(), record.keySchema(), record.key());
		writeJson("value", 0, record.topic(), record.valueSchema(), record.value());
	}

	private void writeHeader(String topic, Header header)
	{
		Schema schema = header.schema();

		out.println("  header " + header.key() + " schema=" +
					(schema == null ? null : schema.name()) + " value=" + header.value());
		if (header.key().startsWith("__debezium.context."))
			return;
		byte[] bytes = headerConverter.fromConnectHeader(topic, header.key(), schema, header.value());
		out.println("  header-bytes " + header.key() + " type=" +
					(schema == null ? null : schema.type() + (schema.isOptional() ? "?" : "")) +
					" " + text(bytes));
	}

	private void writePart(String part, String topic, Schema schema, Object value) throws Exception
	{
		if (value == null)
		{
			/* null bytes, and the registry does not see the schema */
			out.println("  " + part + " schema=" + (schema == null ? null : schema.name()) +
						" value=null");
			return;
		}
		org.apache.avro.Schema avro = (org.apache.avro.Schema) toAvroSchema.invoke(avroData, schema);
		String alias = alias("S", aliases, topic + "-" + part, avro.toString());
		Object converted = toAvro.invoke(avroData, schema, value);
		if (converted.getClass().getSimpleName().equals("NonRecordContainer"))
			converted = converted.getClass().getMethod("getValue").invoke(converted);
		ByteArrayOutputStream bytes = new ByteArrayOutputStream();
		BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(bytes, null);
		new GenericDatumWriter<Object>(avro).write(converted, encoder);
		encoder.flush();
		out.println("  " + part + " " + alias + " len=" + bytes.size() + " " +
					GenericData.get().toString(converted));
	}

	private String alias(String letter, Map<String, String> known, String subject, String schema)
	{
		String alias = known.get(schema);

		if (alias == null)
		{
			alias = letter + (known.size() + 1);
			known.put(schema, alias);
			out.println("  NEW " + alias + " subject=" + subject + " " + schema);
		}
		return alias;
	}

	/*
	 * With schemas JsonConverter writes {"schema":S,"payload":P}, P being what
	 * it writes without schemas.  S is printed once; what differs is printed
	 * whole.
	 */
	private void writeJson(String part, int key, String topic, Schema schema, Object value)
	{
		if (own.getOrDefault("json", "yes").equals("no"))
			return;
		String plain = text(json[0][key].fromConnectData(topic, schema, value));
		String whole = text(json[1][key].fromConnectData(topic, schema, value));
		String tail = ",\"payload\":" + plain + "}";
		String head = "{\"schema\":";

		if (own.getOrDefault("json", "yes").equals("verbatim"))
			out.println("  json-" + part + " " + whole);
		else if (whole.startsWith(head) && whole.endsWith(tail))
		{
			String s = whole.substring(head.length(), whole.length() - tail.length());
			if (!s.equals("null"))
				s = alias("J", jsonAliases, topic + "-" + part, s);
			out.println("  json-" + part + " {\"schema\":" + s + ",\"payload\":*}");
		}
		else
			out.println("  json-" + part + " " + whole);
		out.println("  json-" + part + "-noschema " + plain);
	}

	private static String text(byte[] bytes)
	{
		return bytes == null ? "<null>" : new String(bytes, StandardCharsets.UTF_8);
	}

	/* no stored offsets: every run starts afresh */
	private static class Context implements SourceTaskContext, OffsetStorageReader
	{
		private final Map<String, String> configs;

		Context(Map<String, String> configs)
		{
			this.configs = configs;
		}

		@Override
		public Map<String, String> configs()
		{
			return configs;
		}

		@Override
		public OffsetStorageReader offsetStorageReader()
		{
			return this;
		}

		@Override
		public <T> Map<String, Object> offset(Map<String, T> partition)
		{
			return null;
		}

		@Override
		public <T> Map<Map<String, T>, Map<String, Object>> offsets(Collection<Map<String, T>> partitions)
		{
			return new HashMap<>();
		}

		@Override
		public org.apache.kafka.common.metrics.PluginMetrics pluginMetrics()
		{
			throw new UnsupportedOperationException();
		}
	}
}
