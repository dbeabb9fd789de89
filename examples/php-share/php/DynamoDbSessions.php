<?php

declare(strict_types=1);

/**
 * Keeps sessions in a DynamoDB table. It sends the same requests as the session handler of the AWS SDK for
 * PHP, with the same defaults, but does not sign them. It is only for this example: use the SDK elsewhere.
 */
final class DynamoDbSessions implements SessionHandlerInterface
{
    private string $name = '';
    private string $id = '';        // the current session's id
    private string $read = '';      // the data that was read
    private bool $finished = false; // the session was written or deleted

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
        // An item without data is an empty session. An item without an expiry is not a session yet.
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
                return []; // like the SDK's handler, continue with an empty session
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

    /** Releases the lock and moves the expiry. PHP does this at every request, without a condition. */
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
        return 0; // TTL deletes expired sessions
    }

    private function key(string $id): array
    {
        return ['id' => ['S' => trim($this->name . '_' . $id, '_')]];
    }

    /** Sends a request to DynamoDB's API. Returns null if the condition does not hold. */
    private function call(string $operation, array $parameters): ?array
    {
        $body = file_get_contents($this->endpoint . '/', false, stream_context_create(['http' => [
            'method' => 'POST',
            'header' => [
                'Content-Type: application/x-amz-json-1.0',
                "X-Amz-Target: DynamoDB_20120810.$operation",
                // The signature is well-formed, which is enough for a DynamoDB on this machine.
                'Authorization: AWS4-HMAC-SHA256 Credential=example/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0',
            ],
            'content' => json_encode(['TableName' => $this->table] + $parameters, JSON_THROW_ON_ERROR),
            'ignore_errors' => true, // also return the body of an error
            'timeout' => 5,
        ]]));
        if ($body === false) {
            throw new RuntimeException("DynamoDB, $operation: no response");
        }
        $answer = json_decode($body, true, 512, JSON_THROW_ON_ERROR);
        $error = (string) ($answer['__type'] ?? '');
        if (str_ends_with($error, '#ConditionalCheckFailedException')) {
            return null;
        }
        if ($error !== '') {
            // The SDK's handler returns an empty session here, and its next write overwrites the stored one.
            throw new RuntimeException("DynamoDB, $operation: $error");
        }
        return $answer;
    }
}
