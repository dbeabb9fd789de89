package dynamotest

import (
	"cmp"
	"hash/fnv"
	"slices"
	"sort"
	"strings"
	"time"
)

// keySchema is the key of a table or an index.
type keySchema struct {
	hash, sort         string // attribute names; sort may be ""
	hashKind, sortKind string
}

func (k keySchema) names() []string {
	if k.sort == "" {
		return []string{k.hash}
	}
	return []string{k.hash, k.sort}
}

func (k keySchema) kind(name string) string {
	if name == k.sort {
		return k.sortKind
	}
	return k.hashKind
}

// record is one stored item, of a table or of an index. It is replaced, never changed.
type record struct {
	attrs map[string]value
	size  int
	place uint64 // where the hash key puts it among the partitions
	hash  value
	sort  value
	id    string // the table's whole key
}

func newRecord(attrs map[string]value, schema keySchema, id string) *record {
	r := &record{attrs: attrs, size: itemSize(attrs), hash: attrs[schema.hash], id: id}
	if schema.sort != "" {
		r.sort = attrs[schema.sort]
	}
	r.place = place(r.hash)
	return r
}

// place spreads hash keys over 64 bits, the same in every run.
func place(v value) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(keyText(v)))
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}

func keyText(v value) string {
	if v.kind == "N" {
		return "N" + v.n.String()
	}
	return v.kind + v.s
}

func compareRecords(a, b *record) int {
	if c := cmp.Compare(a.place, b.place); c != 0 {
		return c
	}
	if c := strings.Compare(keyText(a.hash), keyText(b.hash)); c != 0 {
		return c
	}
	if c := compareScalars(a.sort, b.sort); c != 0 {
		return c
	}
	return strings.Compare(a.id, b.id)
}

// shelf keeps records in the order in which Scan and Query meet them.
type shelf struct {
	records []*record
	frozen  []*record // what stale reads see while held
	held    bool
}

func (s *shelf) put(r *record) {
	i, found := slices.BinarySearchFunc(s.records, r, compareRecords)
	if found {
		s.records[i] = r
		return
	}
	s.records = slices.Insert(s.records, i, r)
}

func (s *shelf) remove(r *record) {
	if i, found := slices.BinarySearchFunc(s.records, r, compareRecords); found {
		s.records = slices.Delete(s.records, i, i+1)
	}
}

func (s *shelf) hold() {
	if !s.held {
		s.held, s.frozen = true, slices.Clone(s.records)
	}
}

func (s *shelf) release() { s.held, s.frozen = false, nil }

// view returns what a read sees.
func (s *shelf) view(stale bool) []*record {
	if stale && s.held {
		return s.frozen
	}
	return s.records
}

type index struct {
	shelf
	name       string
	schema     keySchema
	projection string
	include    []string
	billed     *throughput
}

// project returns the index's record of an item, or nil if the item lacks the index's key.
func (x *index) project(r *record, table keySchema) *record {
	if r == nil {
		return nil
	}
	for _, name := range x.schema.names() {
		if v, ok := r.attrs[name]; !ok || v.kind != x.schema.kind(name) {
			return nil
		}
	}
	attrs := r.attrs
	if x.projection != "ALL" {
		attrs = map[string]value{}
		for _, name := range slices.Concat(table.names(), x.schema.names(), x.include) {
			if v, ok := r.attrs[name]; ok {
				attrs[name] = v
			}
		}
	}
	return newRecord(attrs, x.schema, r.id)
}

// projects says whether the index carries the attribute.
func (x *index) projects(name string, table keySchema) bool {
	return x.projection == "ALL" || slices.Contains(slices.Concat(table.names(), x.schema.names(), x.include), name)
}

type table struct {
	shelf
	name       string
	schema     keySchema
	items      map[string]*record
	indexes    []*index
	attributes []attributeDefinition
	created    time.Time
	onDemand   bool
	billed     *throughput
	protected  bool
	class      string
	sse        *sseSpecification
	ttl        string // "" when off
}

func (t *table) index(name string) *index {
	for _, x := range t.indexes {
		if x.name == name {
			return x
		}
	}
	return nil
}

// key checks a request's Key and returns the id of its item.
func (t *table) key(key map[string]value) (string, *apiError) {
	if key == nil {
		return "", invalid("Cannot have null key for GetItem, DeleteItem, or UpdateItem")
	}
	if err := checkAttributes(key); err != nil {
		return "", err
	}
	if len(key) != len(t.schema.names()) {
		return "", invalid("The number of conditions on the keys is invalid")
	}
	return t.keyOf(key)
}

// keyOf returns the id of an item from its attributes.
func (t *table) keyOf(attrs map[string]value) (string, *apiError) {
	id := ""
	for _, name := range t.schema.names() {
		v, ok := attrs[name]
		if !ok {
			return "", invalid("One of the required keys was not given a value")
		}
		if v.kind != t.schema.kind(name) {
			return "", invalid("One or more parameter values were invalid: Type mismatch for key")
		}
		if v.kind != "N" && v.s == "" {
			what := "string"
			if v.kind == "B" {
				what = "binary"
			}
			err := invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty " + what + " value. Key: " + name)
			err.early = true
			return "", err
		}
		if len(v.s) > keyLimit(name == t.schema.sort) {
			return "", invalid("Hash primary key values must be under 2048 bytes, and range primary key values must be under 1024 bytes")
		}
		text := keyText(v)
		id += string([]byte{byte(len(text) >> 8), byte(len(text))}) + text
	}
	return id, nil
}

func keyLimit(isSort bool) int {
	if isSort {
		return 1024
	}
	return 2048
}

// checkIndexKeys refuses an item whose index keys no index could hold.
func (t *table) checkIndexKeys(attrs map[string]value, updating bool) *apiError {
	for _, x := range t.indexes {
		for _, name := range x.schema.names() {
			v, ok := attrs[name]
			switch {
			case !ok:
			case v.kind != x.schema.kind(name):
				return invalid("One or more parameter values were invalid: Type mismatch for Index Key")
			case v.kind != "N" && v.s == "" && updating:
				return invalid("One or more parameter values are not valid. The update expression attempted to update a secondary index key to a value that is not supported. The AttributeValue for a key attribute cannot contain an empty string value.")
			case v.kind != "N" && v.s == "":
				return emptyIndexKey(x.name, name)
			case len(v.s) > keyLimit(name == x.schema.sort):
				return invalid("One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of 2048 bytes")
			}
		}
	}
	return nil
}

func emptyIndexKey(index, name string) *apiError {
	return invalid("One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty string value. IndexName: " + index + ", IndexKey: " + name)
}

// find reads one item, stale if the replica is held.
func (t *table) find(id string, key map[string]value, consistent bool) *record {
	if consistent || !t.held {
		return t.items[id]
	}
	r := newRecord(key, t.schema, id)
	if i, found := slices.BinarySearchFunc(t.frozen, r, compareRecords); found {
		return t.frozen[i]
	}
	return nil
}

// write replaces the item (removes it if now is nil) and returns the units that this costs.
func (t *table) write(was, now *record, c *consumed) {
	bytes := 0
	if was != nil {
		bytes = was.size
	}
	if now != nil {
		bytes = max(bytes, now.size)
	}
	c.write(t, nil, writeUnits(bytes))
	switch {
	case now != nil:
		t.items[now.id] = now
		t.put(now)
	case was != nil:
		delete(t.items, was.id)
		t.remove(was)
	}
	for _, x := range t.indexes {
		x.write(t, x.project(was, t.schema), x.project(now, t.schema), c)
	}
}

func (x *index) write(t *table, was, now *record, c *consumed) {
	switch {
	case was == nil && now == nil:
	case was == nil:
		c.write(t, x, writeUnits(now.size))
		x.put(now)
	case now == nil:
		c.write(t, x, writeUnits(was.size))
		x.remove(was)
	case compareRecords(was, now) != 0:
		// A key cannot change in place: one write takes the old entry out, one puts the new in.
		c.write(t, x, writeUnits(was.size)+writeUnits(now.size))
		x.remove(was)
		x.put(now)
	case !equalItems(was.attrs, now.attrs):
		c.write(t, x, writeUnits(max(was.size, now.size)))
		x.put(now)
	}
}

// after returns the position of the first record behind r.
func after(records []*record, r *record) int {
	return sort.Search(len(records), func(i int) bool { return compareRecords(records[i], r) > 0 })
}
