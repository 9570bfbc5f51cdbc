<?php
require '/usr/share/php/Symfony/Component/HttpClient/autoload.php';

use Symfony\Component\HttpClient\Chunk\ServerSentEvent;
use Symfony\Component\HttpClient\EventSourceHttpClient;
use Symfony\Component\HttpClient\Exception\TransportException;
use Symfony\Component\HttpClient\HttpClient;

$url = $argv[1];

/** Yields every event once, over any number of connections, until the topic ends. */
function subscribe(string $url): iterable
{
    $id = '';
    while (true) {
        $client = new EventSourceHttpClient(HttpClient::create());
        $source = $client->connect($url, ['headers' => '' === $id ? [] : ['Last-Event-ID' => $id]]);
        try {
            foreach ($client->stream($source) as $chunk) {
                if ('' === $id && $chunk->isFirst()) {
                    $id = $source->getHeaders(false)['tailwater-cursor'][0] ?? '';
                }
                if ($chunk instanceof ServerSentEvent && '' !== $chunk->getId()) {
                    $id = $chunk->getId();
                    // A load balancer without gateways sends an id and no data.
                    if ('' !== $chunk->getData()) {
                        yield $chunk;
                    }
                }
            }
        } catch (TransportException $error) {
            // The connection broke.
        }
        if (204 === $source->getInfo('http_code')) {
            return; // the topic has ended
        }
        sleep(2);
    }
}

foreach (subscribe($url) as $event) {
    echo $event->getData(), "\n";
}
