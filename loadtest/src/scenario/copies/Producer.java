// Sends the records of its input to a topic of Kafka, each once: "KEY<tab>VALUE" a line. A line with a dot alone is
// answered by one as soon as all records before it are acknowledged.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

class Producer {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("acks", "all");
        settings.put("enable.idempotence", "true");
        settings.put("delivery.timeout.ms", "120000");
        settings.put("request.timeout.ms", "5000");
        settings.put("max.block.ms", "120000");
        settings.put("reconnect.backoff.max.ms", "500");
        settings.put("linger.ms", "2");
        StringSerializer text = new StringSerializer();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings, text, text)) {
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                if (line.equals(".")) {
                    producer.flush();
                    System.out.println(".");
                    System.out.flush();
                    continue;
                }
                String[] record = line.split("\t", 2);
                producer.send(new ProducerRecord<>(args[1], record[0], record[1]), (metadata, error) -> {
                    if (error != null) {
                        System.err.println(error);
                        Runtime.getRuntime().halt(1);
                    }
                });
            }
        }
    }
}
