import com.launchdarkly.eventsource.ErrorStrategy;
import com.launchdarkly.eventsource.EventSource;
import com.launchdarkly.eventsource.MessageEvent;
import java.net.URI;

class OkhttpEventsourceAdvised {
    public static void main(String[] args) {
        String url = args[0];
        var builder = new EventSource.Builder(URI.create(url)).errorStrategy(ErrorStrategy.alwaysContinue());
        try (EventSource source = builder.build()) {
            for (MessageEvent event : source.messages()) {
                if (event.getEventName().equals("tailwater.end")) break;
                if (!event.getEventName().startsWith("tailwater.")) System.out.println(event.getData());
            }
        }
    }
}
