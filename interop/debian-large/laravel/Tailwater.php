<?php

namespace App\Services;

use Illuminate\Http\Client\RequestException;
use Illuminate\Support\Facades\Http;

class Tailwater
{
    public function __construct(private string $url, private string $token)
    {
    }

    /** Publishes an event, and returns its id. Tries again after 429, after a 5xx and without an answer. */
    public function publish(string $topic, string $data, array $parameters = []): string
    {
        $query = http_build_query(['topic' => $topic] + $parameters);
        $isPassing = fn ($error) => !$error instanceof RequestException
            || 429 === $error->response->status()
            || $error->response->serverError();

        return Http::withToken($this->token)
            ->withHeaders(['Idempotency-Key' => bin2hex(random_bytes(16))])
            ->withBody($data, 'text/plain')
            ->timeout(5)
            ->retry(5, 500, $isPassing)
            ->post("{$this->url}/v1/events?{$query}")
            ->throw()
            ->json('id');
    }
}
