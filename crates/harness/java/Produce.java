import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AccessControlEntryFilter;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's own clients, driven by lines of JSON on standard input, against the broker of the first argument:
 * send (topic, partition, key, value, headers, timestamp, compression), flush, begin (timeout_ms), commit, abort,
 * read (topic, partition, committed), ends (topic), group (group, topic, partition), deny (user, topic, denied),
 * restrict (user, kind, name, rights). All but send are answered by one line. Bytes are base64, null is null.
 *
 * <p>What is sent between two flushes shares a batch as far as it fits, and abort flushes first, so that what a log
 * holds is the test's choice. A transaction open when the input ends stays open.
 */
class Produce {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int MAX_REQUEST = 64 << 20;

    private final String bootstrap;
    private final Map<String, KafkaProducer<byte[], byte[]>> plain = new HashMap<>();
    private final List<Future<RecordMetadata>> sent = new ArrayList<>();
    private KafkaProducer<byte[], byte[]> transactional;
    private boolean inTransaction;

    private Produce(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    public static void main(String[] args) throws Exception {
        Produce produce = new Produce(args[0]);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode command = JSON.readTree(line);
            if (command.get("op").asText().equals("send")) {
                produce.send(command);
                continue;
            }
            ObjectNode answer = JSON.createObjectNode();
            try {
                produce.run(command, answer);
            } catch (Exception error) {
                answer.put("error", String.valueOf(error));
            }
            out.println(answer);
        }
        // Not an orderly end, which would abort an open transaction.
        Runtime.getRuntime().halt(0);
    }

    private void run(JsonNode command, ObjectNode answer) throws Exception {
        switch (command.get("op").asText()) {
            case "flush" -> flush(answer);
            case "begin" -> begin(command.get("timeout_ms").asInt());
            case "commit" -> {
                flush(answer);
                transactional.commitTransaction();
                inTransaction = false;
            }
            case "abort" -> {
                flush(answer);
                transactional.abortTransaction();
                inTransaction = false;
            }
            case "read" -> read(command, answer.putArray("records"));
            case "ends" -> {
                answer.put("stable", ends(command.get("topic").asText(), IsolationLevel.READ_COMMITTED));
                answer.put("written", ends(command.get("topic").asText(), IsolationLevel.READ_UNCOMMITTED));
            }
            case "group" -> answer.put("offset", committed(command));
            case "deny" -> deny(command);
            case "restrict" -> restrict(command);
            default -> throw new IllegalArgumentException("no such op");
        }
    }

    private void send(JsonNode command) throws Exception {
        JsonNode partition = command.get("partition");
        JsonNode timestamp = command.get("timestamp");
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                command.get("topic").asText(),
                partition.isNull() ? null : partition.asInt(),
                timestamp.isNull() ? null : timestamp.asLong(),
                bytes(command.get("key")),
                bytes(command.get("value")));
        for (JsonNode header : command.get("headers")) {
            record.headers().add(header.get(0).asText(), bytes(header.get(1)));
        }
        String compression = command.get("compression").asText();
        KafkaProducer<byte[], byte[]> producer =
                inTransaction ? transactional : plain.computeIfAbsent(compression, name -> producer(name, Map.of()));
        sent.add(producer.send(record));
    }

    private void begin(int timeout) {
        if (transactional == null) {
            transactional = producer("none", Map.of(
                    "transactional.id", "harness-" + UUID.randomUUID(), "transaction.timeout.ms", timeout));
            transactional.initTransactions();
        }
        transactional.beginTransaction();
        inTransaction = true;
    }

    private void flush(ObjectNode answer) throws Exception {
        for (KafkaProducer<byte[], byte[]> producer : plain.values()) {
            producer.flush();
        }
        if (transactional != null) {
            transactional.flush();
        }
        ArrayNode offsets = answer.putArray("offsets");
        try {
            for (Future<RecordMetadata> one : sent) {
                offsets.add(one.get().offset());
            }
        } finally {
            sent.clear();
        }
    }

    private void read(JsonNode command, ArrayNode records) throws Exception {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", bootstrap,
                "isolation.level", command.get("committed").asBoolean() ? "read_committed" : "read_uncommitted");
        TopicPartition partition = new TopicPartition(command.get("topic").asText(), command.get("partition").asInt());
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            while (consumer.position(partition) < end) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                    records.add(json(record));
                }
            }
        }
    }

    private long ends(String topic, IsolationLevel isolation) throws Exception {
        try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", bootstrap))) {
            Map<TopicPartition, OffsetSpec> wanted = new HashMap<>();
            var described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
            for (TopicPartitionInfo partition : described.partitions()) {
                wanted.put(new TopicPartition(topic, partition.partition()), OffsetSpec.latest());
            }
            long sum = 0;
            for (var end : admin.listOffsets(wanted, new ListOffsetsOptions(isolation)).all().get().values()) {
                sum += end.offset();
            }
            return sum;
        }
    }

    private Long committed(JsonNode command) {
        Map<String, Object> settings =
                Map.of("bootstrap.servers", bootstrap, "group.id", command.get("group").asText());
        TopicPartition partition = new TopicPartition(command.get("topic").asText(), command.get("partition").asInt());
        try (KafkaConsumer<byte[], byte[]> consumer =
                new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            OffsetAndMetadata committed = consumer.committed(Set.of(partition)).get(partition);
            return committed == null ? null : committed.offset();
        }
    }

    private void deny(JsonNode command) throws Exception {
        AclBinding rule = new AclBinding(
                new ResourcePattern(ResourceType.TOPIC, command.get("topic").asText(), PatternType.LITERAL),
                new AccessControlEntry(
                        "User:" + command.get("user").asText(), "*", AclOperation.READ, AclPermissionType.DENY));
        try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", bootstrap))) {
            if (command.get("denied").asBoolean()) {
                admin.createAcls(List.of(rule)).all().get();
            } else {
                admin.deleteAcls(List.of(rule.toFilter())).all().get();
            }
        }
    }

    /** Where a resource has rules, nobody has a right on it by default. Answers once the broker knows them. */
    private void restrict(JsonNode command) throws Exception {
        ResourcePattern resource = new ResourcePattern(
                ResourceType.fromString(command.get("kind").asText()),
                command.get("name").asText(),
                PatternType.LITERAL);
        List<AclBinding> rules = new ArrayList<>();
        for (JsonNode right : command.get("rights")) {
            rules.add(new AclBinding(
                    resource,
                    new AccessControlEntry(
                            "User:" + command.get("user").asText(),
                            "*",
                            AclOperation.fromString(right.asText()),
                            AclPermissionType.ALLOW)));
        }
        try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", bootstrap))) {
            admin.createAcls(rules).all().get();
            var those = new AclBindingFilter(resource.toFilter(), AccessControlEntryFilter.ANY);
            while (!admin.describeAcls(those).values().get().containsAll(rules)) {
                Thread.sleep(20);
            }
        }
    }

    private static ObjectNode json(ConsumerRecord<byte[], byte[]> record) {
        ObjectNode node = JSON.createObjectNode();
        node.put("offset", record.offset());
        node.put("timestamp", record.timestamp());
        node.put("key", record.key());
        node.put("value", record.value());
        ArrayNode headers = node.putArray("headers");
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(header.value());
        }
        return node;
    }

    private KafkaProducer<byte[], byte[]> producer(String compression, Map<String, Object> more) {
        Map<String, Object> settings = new HashMap<>(more);
        settings.put("bootstrap.servers", bootstrap);
        settings.put("compression.type", compression);
        // Only a flush or a full batch sends.
        settings.put("linger.ms", 30_000);
        settings.put("batch.size", 512 << 10);
        // What is too large is for the broker to say.
        settings.put("max.request.size", MAX_REQUEST);
        settings.put("buffer.memory", 2L * MAX_REQUEST);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static byte[] bytes(JsonNode node) throws Exception {
        return node.isNull() ? null : node.binaryValue();
    }
}
