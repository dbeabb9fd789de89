package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// tally counts what has passed through a proxy.
type tally struct {
	Calls               map[string]int // by operation
	ReadUnits           float64
	WriteUnits          float64
	Sent, Received      int64 // bytes of the bodies that the library sent and received
	Refused             int   // calls whose condition failed
	Reads, Puts, Delete int   // GetItem and Query; PutItem and UpdateItem; DeleteItem
}

// proxy forwards calls to DynamoDB and counts them. It asks DynamoDB for the capacity that each call
// consumes, and removes that from the response if the library did not ask for it. It compares the
// capacity with the sizes of the item before and after the call.
type proxy struct {
	target string
	client *http.Client
	audit  bool // also compute the units of each call from the item's size

	mu       sync.Mutex
	tally    tally
	problems []error
}

func newProxy(target string, audit bool) *proxy {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	transport.DisableCompression = true // the library's own Accept-Encoding is forwarded
	return &proxy{target: target, client: &http.Client{Transport: transport}, audit: audit, tally: tally{Calls: map[string]int{}}}
}

// take returns what was counted since the last take.
func (p *proxy) take() (tally, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, err := p.tally, errors.Join(p.problems...)
	p.tally, p.problems = tally{Calls: map[string]int{}}, nil
	return t, err
}

func (p *proxy) problem(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.problems) < 20 {
		p.problems = append(p.problems, err)
	}
}

const capacityKey = "ReturnConsumedCapacity"

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	c := &call{proxy: p, operation: operation, header: r.Header, sent: len(body)}
	status, header, answer, err := c.forward(r.Context(), body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
	_, _ = w.Write(answer) // fails only if the client has gone
}

// call is one request that passes through the proxy.
type call struct {
	*proxy
	operation string
	header    http.Header
	sent      int
	request   map[string]json.RawMessage
}

// billed are the operations that consume capacity.
var billed = map[string]bool{
	"GetItem": true, "PutItem": true, "UpdateItem": true, "DeleteItem": true, "Query": true, "Scan": true,
	"BatchWriteItem": true, "BatchGetItem": true, "TransactWriteItems": true,
}

func (c *call) forward(ctx context.Context, body []byte) (status int, header http.Header, answer []byte, err error) {
	if !billed[c.operation] {
		return c.send(ctx, c.operation, body)
	}
	if err := json.Unmarshal(body, &c.request); err != nil {
		return 0, nil, nil, err
	}
	_, asked := c.request[capacityKey]
	if !asked {
		c.request[capacityKey] = json.RawMessage(`"TOTAL"`)
		if body, err = json.Marshal(c.request); err != nil {
			return 0, nil, nil, err
		}
	}
	before, err := c.current(ctx)
	if err != nil {
		return 0, nil, nil, err
	}
	status, header, answer, err = c.send(ctx, c.operation, body)
	if err != nil {
		return 0, nil, nil, err
	}
	after, err := c.current(ctx)
	if err != nil {
		return 0, nil, nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(answer, &fields); err != nil {
		return 0, nil, nil, err
	}
	units, err := consumed(c.operation, fields["ConsumedCapacity"])
	if err != nil {
		return 0, nil, nil, err
	}
	if !asked {
		delete(fields, "ConsumedCapacity")
		if answer, err = json.Marshal(fields); err != nil {
			return 0, nil, nil, err
		}
		header.Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(answer)), 10))
		header.Set("Content-Length", strconv.Itoa(len(answer)))
	}
	c.count(status, units, max(before, after), len(answer))
	return status, header, answer, nil
}

func (c *call) send(ctx context.Context, operation string, body []byte) (status int, header http.Header, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	for _, name := range []string{"Content-Type", "Authorization", "X-Amz-Date", "Accept-Encoding"} {
		if v := c.header.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
	res, err := c.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, res.Header, answer, err
}

// consumed returns the units that a response reports. It returns an error for a transaction, because
// DynamoDB Local reports twice the units that DynamoDB bills for one. The trace has no transactions.
func consumed(operation string, raw json.RawMessage) (float64, error) {
	if raw == nil {
		return 0, nil
	}
	type capacity struct{ CapacityUnits float64 }
	switch operation {
	case "TransactWriteItems":
		return 0, errors.New("DynamoDB Local does not report the right units of a transaction")
	case "BatchWriteItem", "BatchGetItem":
		var list []capacity
		err := json.Unmarshal(raw, &list)
		sum := 0.0
		for _, one := range list {
			sum += one.CapacityUnits
		}
		return sum, err
	}
	var one capacity
	err := json.Unmarshal(raw, &one)
	return one.CapacityUnits, err
}

// current returns the present size of the item that the call reads or writes, or 0 if there is none.
func (c *call) current(ctx context.Context) (int, error) {
	if !c.audit {
		return 0, nil
	}
	key := c.request["Key"]
	switch c.operation {
	case "GetItem", "UpdateItem", "DeleteItem":
	case "PutItem":
		var all item
		if err := json.Unmarshal(c.request["Item"], &all); err != nil {
			return 0, err
		}
		name := "id"
		if all[name] == nil {
			name = tokenKey
		}
		var err error
		if key, err = json.Marshal(item{name: all[name]}); err != nil {
			return 0, err
		}
	default:
		return 0, nil
	}
	body, err := json.Marshal(map[string]any{"TableName": c.request["TableName"], "Key": key, "ConsistentRead": true})
	if err != nil {
		return 0, err
	}
	status, _, answer, err := c.send(ctx, "GetItem", body)
	if err != nil || status != http.StatusOK {
		return 0, fmt.Errorf("reading the item: status %d, %w", status, err)
	}
	var found struct{ Item item }
	if err := json.Unmarshal(answer, &found); err != nil {
		return 0, err
	}
	return found.Item.size()
}

func (c *call) count(status int, units float64, size, received int) {
	c.mu.Lock()
	t := &c.tally
	t.Calls[c.operation]++
	t.Sent += int64(c.sent)
	t.Received += int64(received)
	read := false
	switch c.operation {
	case "GetItem", "Query", "Scan", "BatchGetItem":
		t.Reads++
		read = true
	case "DeleteItem":
		t.Delete++
	default:
		t.Puts++
	}
	refused := status != http.StatusOK
	switch {
	case refused: // the response has no units; DynamoDB bills a failed condition like a write
		t.Refused++
		units = writeUnits(size)
		t.WriteUnits += units
	case read:
		t.ReadUnits += units
	default:
		t.WriteUnits += units
	}
	c.mu.Unlock()
	if !c.audit || refused {
		return
	}
	want := writeUnits(size)
	switch c.operation {
	case "GetItem":
		want = readUnits(size, string(c.request["ConsistentRead"]) == "true")
	case "PutItem", "UpdateItem", "DeleteItem":
	default:
		return
	}
	if units != want {
		c.problem(fmt.Errorf("%s of an item of %d bytes: got %v units, want %v", c.operation, size, units, want))
	}
}
