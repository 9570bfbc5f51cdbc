vcl 4.1;
import directors;
backend one {
    .host = "gateway-1";
    .port = "8080";
}
backend two {
    .host = "gateway-2";
    .port = "8080";
}
sub vcl_init {
    new gateways = directors.round_robin();
    gateways.add_backend(one);
    gateways.add_backend(two);
}
sub vcl_recv {
    set req.backend_hint = gateways.backend();
}
