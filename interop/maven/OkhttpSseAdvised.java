import java.time.Duration;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.sse.EventSource;
import okhttp3.sse.EventSourceListener;
import okhttp3.sse.EventSources;

/** Prints every event once, over any number of connections, until the topic ends. */
class OkhttpSseAdvised extends EventSourceListener {
    // The heartbeat is every 15 s; the library's default of 10 s would end quiet streams.
    private final OkHttpClient client = new OkHttpClient.Builder().readTimeout(Duration.ofSeconds(45)).build();
    private final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
    private final String url;
    private String lastId;

    OkhttpSseAdvised(String url) {
        this.url = url;
    }

    void open() {
        var request = new Request.Builder().url(url);
        if (lastId != null) request.header("Last-Event-ID", lastId);
        EventSources.createFactory(client).newEventSource(request.build(), this);
    }

    @Override
    public void onOpen(EventSource source, Response response) {
        if (lastId == null) lastId = response.header("Tailwater-Cursor");
    }

    @Override
    public void onEvent(EventSource source, String id, String type, String data) {
        lastId = id;
        System.out.println(data);
    }

    @Override
    public void onClosed(EventSource source) {
        openLater();
    }

    @Override
    public void onFailure(EventSource source, Throwable error, Response response) {
        int status = response == null ? 0 : response.code();
        boolean isFinal = status == 204 || status / 100 == 4 && status != 429;
        if (isFinal) close();
        else openLater();
    }

    private void openLater() {
        timer.schedule(this::open, 2, TimeUnit.SECONDS); // the library does not tell `retry`
    }

    private void close() {
        timer.shutdown();
        client.dispatcher().executorService().shutdown();
    }

    public static void main(String[] args) {
        new OkhttpSseAdvised(args[0]).open();
    }
}
