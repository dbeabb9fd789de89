<?php

declare(strict_types=1);

/**
 * Keeps sessions in a DynamoDB table. It sends the requests that the session handler of the AWS SDK for
 * PHP sends, with that one's defaults, but signs none: this is for the example, the SDK for everything else.
 */
final class DynamoDbSessions implements SessionHandlerInterface
{
    private string $name = '';
    private string $id = '';        // the session at work
    private string $read = '';      // its data, as it was read
    private bool $finished = false; // it was written, or deleted

    public function __construct(
        private string $endpoint,
        private string $table,      // table_name
        private int $lifetime,      // session_lifetime, in seconds
        private bool $locking,      // locking
        private int $lockWait = 10, // max_lock_wait_time, in seconds
    ) {
    }

    public function open(string $path, string $name): bool
    {
        $this->name = $name;
        return true;
    }

    public function read(string $id): string
    {
        [$this->id, $this->read, $this->finished] = [$id, '', false];
        $item = $this->locking ? $this->lockAndRead($id) : $this->onlyRead($id);
        // An item without data is an empty session; one without the other is no session yet.
        if (!isset($item['expires'], $item['data'])) {
            return '';
        }
        if ((int) $item['expires']['N'] <= time()) {
            $this->destroy($id);
            return '';
        }
        return $this->read = $item['data']['S'] ?? base64_decode($item['data']['B']);
    }

    private function onlyRead(string $id): array
    {
        $answer = $this->call('GetItem', ['Key' => $this->key($id), 'ConsistentRead' => true]);
        return $answer['Item'] ?? [];
    }

    private function lockAndRead(string $id): array
    {
        $giveUp = time() + $this->lockWait;
        while (true) {
            $answer = $this->call('UpdateItem', [
                'Key' => $this->key($id),
                'Expected' => ['lock' => ['Exists' => false]],
                'AttributeUpdates' => ['lock' => ['Value' => ['N' => '1']]],
                'ReturnValues' => 'ALL_NEW',
            ]);
            if ($answer !== null) {
                return $answer['Attributes'];
            }
            if (time() >= $giveUp) {
                return []; // the SDK's handler, too, goes on with an empty session
            }
            usleep(random_int(10_000, 50_000)); // min_lock_retry_microtime, max_lock_retry_microtime
        }
    }

    public function write(string $id, string $data): bool
    {
        $changed = $id !== $this->id || $data !== $this->read;
        return $this->store($id, match (true) {
            !$changed => [],
            $data === '' => ['data' => ['Action' => 'DELETE']],
            default => ['data' => ['Value' => ['S' => $data]]],
        });
    }

    /** Gives the lock up and moves the expiry, at every request. There is no condition. */
    private function store(string $id, array $updates): bool
    {
        $this->call('UpdateItem', ['Key' => $this->key($id), 'AttributeUpdates' => $updates + [
            'expires' => ['Value' => ['N' => (string) (time() + $this->lifetime)]],
            'lock' => ['Action' => 'DELETE'],
        ]]);
        $this->id = $id;
        return $this->finished = true;
    }

    public function close(): bool
    {
        $id = (string) session_id();
        return $this->finished && $this->id === $id || $this->store($id, []);
    }

    public function destroy(string $id): bool
    {
        $this->call('DeleteItem', ['Key' => $this->key($id)]);
        $this->id = $id;
        return $this->finished = true;
    }

    public function gc(int $max_lifetime): int|false
    {
        return 0; // TTL deletes what has expired
    }

    private function key(string $id): array
    {
        return ['id' => ['S' => trim($this->name . '_' . $id, '_')]];
    }

    /** One request of DynamoDB's API. It gives null when the condition does not hold. */
    private function call(string $operation, array $parameters): ?array
    {
        $body = file_get_contents($this->endpoint . '/', false, stream_context_create(['http' => [
            'method' => 'POST',
            'header' => [
                'Content-Type: application/x-amz-json-1.0',
                "X-Amz-Target: DynamoDB_20120810.$operation",
                // Well-formed, which is enough for a DynamoDB on this machine.
                'Authorization: AWS4-HMAC-SHA256 Credential=example/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0',
            ],
            'content' => json_encode(['TableName' => $this->table] + $parameters, JSON_THROW_ON_ERROR),
            'ignore_errors' => true, // gives the body of an error, too
            'timeout' => 5,
        ]]));
        if ($body === false) {
            throw new RuntimeException("DynamoDB, $operation: no answer");
        }
        $answer = json_decode($body, true, 512, JSON_THROW_ON_ERROR);
        $error = (string) ($answer['__type'] ?? '');
        if (str_ends_with($error, '#ConditionalCheckFailedException')) {
            return null;
        }
        if ($error !== '') {
            // The SDK's handler reads an empty session here, and the next write makes that final.
            throw new RuntimeException("DynamoDB, $operation: $error");
        }
        return $answer;
    }
}
