// Package dynamotest is an in-process Amazon DynamoDB for tests and examples.
//
// [Start] returns a client of an empty server of its own for a test. [NewServer] returns the server too, with what the
// real one does not offer: faults on demand, a log of calls and their cost, replicas and indexes that lag, and TTL at a
// known time. Clients of [Server.Client] use neither network nor goroutines, so whole days pass at once inside a
// testing/synctest bubble. [Server.URL] offers the same to any other client.
//
// It knows the operations on items, batches, transactions, tables and TTL, both kinds of keys, global secondary indexes,
// all condition, update and projection expressions, the limits on sizes, and DynamoDB's rules of billing. It refuses by
// name what it does not know (streams, PartiQL, local indexes, backups and others), and never ignores it. One table of
// cases runs against dynamotest and against DynamoDB Local, and holds both to the same answers.
//
// It is not a database: it keeps everything in memory, and scans for what it has to find.
package dynamotest
