vcl 4.1;
import directors;
probe alive {
    .url = "/";
    .interval = 2s;
    .timeout = 1s;
    .window = 3;
    .threshold = 2;
    .initial = 2;
}
backend one {
    .host = "gateway-1";
    .port = "8080";
    .connect_timeout = 1s;
    .probe = alive;
}
backend two {
    .host = "gateway-2";
    .port = "8080";
    .connect_timeout = 1s;
    .probe = alive;
}
sub vcl_init {
    new gateways = directors.round_robin();
    gateways.add_backend(one);
    gateways.add_backend(two);
}
sub vcl_recv {
    set req.backend_hint = gateways.backend();
    set req.http.X-Forwarded-For = client.ip;
    unset req.http.Forwarded;
    # Bytes pass in both directions at once, and both ends notice that the other one is gone.
    return (pipe);
}
sub vcl_pipe {
    # The next request on this connection would pass unseen, with any X-Forwarded-For.
    set bereq.http.Connection = "close";
    return (pipe);
}
