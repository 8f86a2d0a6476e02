/*
 * RunSql.java
 *		Runs a file of Flink SQL and writes what each query comes to.
 *
 *	java RunSql FILE DIR [FILE DIR...]
 *
 * Statements end with a semicolon at the end of a line; SET 'name' = 'value'
 * is one of them, as in Flink's own client.  One after a line
 * "-- query: NAME" is a query: its changes are applied to an empty list, and
 * DIR/NAME.json gets the rows that are left.  A change that takes away a row
 * which is not there is an error.
 */
import java.io.IOException;
import java.io.PrintWriter;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeFormatterBuilder;
import java.time.temporal.ChronoField;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.types.Row;
import org.apache.flink.types.RowKind;
import org.apache.flink.util.CloseableIterator;

public class RunSql {
	private static final Pattern STATEMENT = Pattern.compile(
			"(?:^-- query: (\\w+)\\n)?((?:^(?!--).*\\n)*?^(?!--).*);$", Pattern.MULTILINE);

	private static final Pattern SETTING = Pattern.compile("SET '(.*)' = '(.*)'");

	/** As PostgreSQL writes a timestamp in JSON. */
	private static final DateTimeFormatter TIMESTAMP = new DateTimeFormatterBuilder()
			.appendPattern("yyyy-MM-dd'T'HH:mm:ss")
			.appendFraction(ChronoField.NANO_OF_SECOND, 0, 9, true).toFormatter();

	private static final DateTimeFormatter TIME = new DateTimeFormatterBuilder()
			.appendPattern("HH:mm:ss").appendFraction(ChronoField.NANO_OF_SECOND, 0, 9, true).toFormatter();

	public static void main(String[] args) throws Exception {
		boolean good = true;
		for (int i = 0; i + 1 < args.length; i += 2) {
			good &= run(Files.readString(Path.of(args[i])), Files.createDirectories(Path.of(args[i + 1])));
		}
		System.exit(good ? 0 : 1);
	}

	private static boolean run(String text, Path folder) {
		TableEnvironment flink = TableEnvironment.create(
				EnvironmentSettings.newInstance().inStreamingMode().build());
		flink.getConfig().set("parallelism.default", "2");
		boolean good = true;

		Matcher statement = STATEMENT.matcher(text);
		while (statement.find()) {
			String name = statement.group(1);
			Matcher setting = SETTING.matcher(statement.group(2).strip());
			if (setting.matches()) {
				flink.getConfig().set(setting.group(1), setting.group(2));
				continue;
			}
			try {
				TableResult result = flink.executeSql(statement.group(2));
				if (name != null) {
					write(folder.resolve(name + ".json"), result);
				}
			} catch (Exception error) {
				System.err.println(name == null ? statement.group(2) : "query " + name);
				error.printStackTrace();
				good = false;
			}
		}
		return good;
	}

	private static void write(Path path, TableResult result) throws Exception {
		List<String> columns = result.getResolvedSchema().getColumnNames();
		Map<String, Integer> rows = new LinkedHashMap<>();
		try (CloseableIterator<Row> changes = result.collect()) {
			while (changes.hasNext()) {
				Row row = changes.next();
				boolean adds = row.getKind() == RowKind.INSERT || row.getKind() == RowKind.UPDATE_AFTER;
				int count = rows.merge(json(columns, row), adds ? 1 : -1, Integer::sum);
				if (count < 0) {
					throw new IOException("a change takes away a row that is not there: " + row);
				}
			}
		}
		try (PrintWriter out = new PrintWriter(Files.newBufferedWriter(path))) {
			rows.forEach((row, count) -> {
				for (int i = 0; i < count; i++) {
					out.println(row);
				}
			});
		}
	}

	/** Values as text, but for lists: compare.py knows what they are. */
	private static String json(List<String> columns, Row row) {
		List<String> fields = new ArrayList<>();
		for (int i = 0; i < columns.size(); i++) {
			fields.add(quote(columns.get(i)) + ": " + value(row.getField(i)));
		}
		return "{" + String.join(", ", fields) + "}";
	}

	private static String value(Object value) {
		if (value == null) {
			return "null";
		} else if (value instanceof Object[]) {
			List<String> elements = new ArrayList<>();
			for (Object element : (Object[]) value) {
				elements.add(element instanceof Number ? element.toString() : value(element));
			}
			return elements.toString();
		} else if (value instanceof byte[]) {
			return quote(Base64.getEncoder().encodeToString((byte[]) value));
		} else if (value instanceof Row) {
			// io.debezium.data.VariableScaleDecimal
			Row decimal = (Row) value;
			return quote(new BigDecimal(new BigInteger((byte[]) decimal.getField("value")),
					(Integer) decimal.getField("scale")).toString());
		} else if (value instanceof LocalDateTime) {
			return quote(TIMESTAMP.format((LocalDateTime) value));
		} else if (value instanceof LocalTime) {
			return quote(TIME.format((LocalTime) value));
		}
		return quote(value.toString());
	}

	private static String quote(String text) {
		StringBuilder quoted = new StringBuilder("\"");
		for (char c : text.toCharArray()) {
			if (c == '"' || c == '\\' || c < ' ') {
				quoted.append(String.format("\\u%04x", (int) c));
			} else {
				quoted.append(c);
			}
		}
		return quoted.append('"').toString();
	}
}
