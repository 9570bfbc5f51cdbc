import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.sse.EventSource;
import okhttp3.sse.EventSourceListener;
import okhttp3.sse.EventSources;

class OkhttpSse {
    public static void main(String[] args) {
        String url = args[0];
        var request = new Request.Builder().url(url).build();
        EventSources.createFactory(new OkHttpClient()).newEventSource(request, new EventSourceListener() {
            @Override
            public void onEvent(EventSource source, String id, String type, String data) {
                System.out.println(data);
            }
        });
    }
}
