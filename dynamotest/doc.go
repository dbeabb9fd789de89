// Package dynamotest is Amazon DynamoDB in the process, for tests and examples.
//
// [Start] gives a test a client of its own empty server. [NewServer] gives the server too, with
// all that the real one does not offer: faults on demand, a log of calls with what they cost,
// lagging replicas and indexes, and TTL at a known time. Clients from [Server.Client] use neither
// network nor goroutines, so whole days pass at once inside a testing/synctest bubble;
// [Server.URL] offers the same to any other client.
//
// It knows the operations on items, batches, transactions, tables and TTL, both kinds of keys,
// global secondary indexes, all condition, update and projection expressions, the limits on sizes,
// and DynamoDB's rules of billing. What it does not know it refuses by name (streams, PartiQL,
// local indexes, backups, …) and never ignores. The package is held to DynamoDB Local by one table
// of cases that runs against both.
//
// It is not a database: it keeps everything in memory, and scans what it has to find.
package dynamotest
