import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/**
 * Creates the topics that are missing and adds the partitions that are: BOOTSTRAP NAME:PARTITIONS[:KEY=VALUE,...] ...
 * They can be used when it ends.
 */
class Topics {
    /** As many as the brokers are set to: default.replication.factor. */
    private static final short REPLICAS = -1;

    public static void main(String[] args) throws Exception {
        List<NewTopic> wanted = new ArrayList<>();
        for (String spec : Arrays.asList(args).subList(1, args.length)) {
            String[] part = spec.split(":", 3);
            if (part.length < 2) {
                System.err.println("not NAME:PARTITIONS: " + spec);
                System.exit(2);
            }
            Map<String, String> settings = new HashMap<>();
            if (part.length > 2) {
                for (String setting : part[2].split(",")) {
                    settings.put(setting.split("=", 2)[0], setting.split("=", 2)[1]);
                }
            }
            wanted.add(new NewTopic(part[0], Integer.parseInt(part[1]), REPLICAS).configs(settings));
        }
        try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", args[0]))) {
            for (var created : admin.createTopics(wanted).values().entrySet()) {
                try {
                    created.getValue().get();
                } catch (ExecutionException error) {
                    if (!(error.getCause() instanceof TopicExistsException)) {
                        System.err.println(created.getKey() + ": " + error.getCause().getMessage());
                        System.exit(1);
                    }
                }
            }
            for (NewTopic topic : wanted) {
                if (awaitLeaders(admin, topic.name()) < topic.numPartitions()) {
                    var grown = Map.of(topic.name(), NewPartitions.increaseTo(topic.numPartitions()));
                    admin.createPartitions(grown).all().get();
                }
                System.out.println(topic.name() + ": " + awaitLeaders(admin, topic.name()) + " partitions");
            }
        }
    }

    private static int awaitLeaders(Admin admin, String topic) throws Exception {
        long end = System.nanoTime() + 20_000_000_000L;
        while (true) {
            try {
                TopicDescription found = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
                if (found.partitions().stream().allMatch(partition -> partition.leader() != null)) {
                    return found.partitions().size();
                }
            } catch (ExecutionException error) {
                if (!(error.getCause() instanceof UnknownTopicOrPartitionException)) {
                    throw error;
                }
            }
            if (System.nanoTime() > end) {
                throw new IllegalStateException(topic + " has no leader");
            }
            Thread.sleep(20);
        }
    }
}
