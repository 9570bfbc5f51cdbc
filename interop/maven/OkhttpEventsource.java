import com.launchdarkly.eventsource.EventSource;
import com.launchdarkly.eventsource.MessageEvent;
import java.net.URI;

class OkhttpEventsource {
    public static void main(String[] args) {
        String url = args[0];
        try (EventSource source = new EventSource.Builder(URI.create(url)).build()) {
            for (MessageEvent event : source.messages()) {
                System.out.println(event.getData());
            }
        }
    }
}
