<?php
require '/usr/share/php/Symfony/Component/HttpClient/autoload.php';

use Symfony\Component\HttpClient\Chunk\ServerSentEvent;
use Symfony\Component\HttpClient\EventSourceHttpClient;
use Symfony\Component\HttpClient\HttpClient;

$url = $argv[1];

$client = new EventSourceHttpClient(HttpClient::create());
$source = $client->connect($url);
while ($source) {
    foreach ($client->stream($source, 2) as $response => $chunk) {
        if ($chunk->isTimeout()) {
            continue;
        }
        if ($chunk->isLast()) {
            return;
        }
        if ($chunk instanceof ServerSentEvent) {
            echo $chunk->getData(), "\n";
        }
    }
}
