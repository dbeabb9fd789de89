package dynamotest

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// reading is what Scan and Query share.
type reading struct {
	TableName                 string
	IndexName                 string
	ConsistentRead            bool
	Select                    string
	Limit                     *int
	ExclusiveStartKey         map[string]value
	FilterExpression          *string
	ProjectionExpression      *string
	AttributesToGet           []string
	ConditionalOperator       string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues map[string]value
	ReturnConsumedCapacity    string
}

type queryInput struct {
	reading
	KeyConditionExpression *string
	ScanIndexForward       *bool
}

type scanInput struct {
	reading
	ScanFilter    map[string]scanFilter
	Segment       *int
	TotalSegments *int
}

type pageOutput struct {
	Items            *[]map[string]value `json:",omitempty"`
	Count            int
	ScannedCount     int
	LastEvaluatedKey map[string]value  `json:",omitempty"`
	ConsumedCapacity *consumedCapacity `json:",omitempty"`
}

// source is the table or index that is read.
type source struct {
	table  *table
	index  *index
	schema keySchema
	shelf  *shelf
}

// keys lists the attributes of a position: the index's key and the table's.
func (src source) keys() []string {
	all := src.schema.names()
	for _, name := range src.table.schema.names() {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

func (in *reading) check() *apiError {
	if err := checkTableName(in.TableName); err != nil {
		return err
	}
	if err := checkReturnCapacity(in.ReturnConsumedCapacity); err != nil {
		return err
	}
	if in.Limit != nil && *in.Limit < 1 {
		return invalid("Limit must be greater than or equal to 1")
	}
	hasProjection := in.ProjectionExpression != nil || in.AttributesToGet != nil
	switch in.Select {
	case "", "ALL_ATTRIBUTES":
	case "COUNT":
		if in.ProjectionExpression != nil {
			return invalid("Cannot specify the ProjectionExpression when choosing to get only the Count")
		}
		if in.AttributesToGet != nil {
			return invalid("Cannot specify the AttributesToGet when choosing to get only the Count")
		}
	case "SPECIFIC_ATTRIBUTES":
		if !hasProjection {
			return invalid("Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES")
		}
	case "ALL_PROJECTED_ATTRIBUTES":
		if in.IndexName == "" {
			return invalid("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
		}
	default:
		return invalid("Select must be ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES, COUNT, or SPECIFIC_ATTRIBUTES")
	}
	if hasProjection && in.Select != "" && in.Select != "SPECIFIC_ATTRIBUTES" {
		return invalid("Cannot specify the AttributesToGet when choosing to get " + in.Select)
	}
	if in.FilterExpression != nil && in.AttributesToGet != nil {
		return mixed("AttributesToGet", "FilterExpression")
	}
	if in.ProjectionExpression != nil && in.AttributesToGet != nil {
		return mixed("AttributesToGet", "ProjectionExpression")
	}
	return nil
}

// expressions parses the filter and the projection.
func (in *reading) expressions(holders *placeholders) (filter *expr, proj projection, err *apiError) {
	if in.FilterExpression != nil {
		if filter, err = parseCondition("FilterExpression", *in.FilterExpression, holders); err != nil {
			return nil, nil, err
		}
	}
	if in.ProjectionExpression == nil {
		proj, err = attributesToGet(in.AttributesToGet)
		return filter, proj, err
	}
	proj, err = parseProjection(*in.ProjectionExpression, holders)
	return filter, proj, err
}

func (s *Server) source(in *reading, verb string) (source, *apiError) {
	t, err := s.table(in.TableName)
	if err != nil {
		return source{}, err
	}
	if in.IndexName == "" {
		return source{t, nil, t.schema, &t.shelf}, nil
	}
	x := t.index(in.IndexName)
	if x == nil {
		return source{}, invalid("The table does not have the specified index: " + in.IndexName)
	}
	if in.ConsistentRead {
		return source{}, invalid("Consistent read cannot be true when " + verb + " a GSI")
	}
	return source{t, x, x.schema, &x.shelf}, nil
}

// checkProjected refuses to answer from an index what it does not carry.
func (src source) checkProjected(in *reading, filter *expr, proj projection) *apiError {
	if src.index == nil {
		return nil
	}
	if in.Select == "ALL_ATTRIBUTES" && src.index.projection != "ALL" {
		return invalid("One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global secondary index " + src.index.name + " because its projection type is not ALL")
	}
	missing := func(names []string) string {
		var out []string
		for _, name := range names {
			if !src.index.projects(name, src.table.schema) {
				out = append(out, name)
			}
		}
		return strings.Join(out, ", ")
	}
	var wanted []string
	for _, p := range proj {
		wanted = append(wanted, p[0].name)
	}
	if m := missing(wanted); m != "" {
		return invalid("One or more parameter values were invalid: Global secondary index " + src.index.name + " does not project [" + m + "]")
	}
	used := map[string]bool{}
	filter.names(used)
	if m := missing(sortedKeys(used)); m != "" {
		return invalid("One or more parameter values were invalid: Secondary index " + src.index.name + " does not project one or more filter attributes: [" + m + "]")
	}
	return nil
}

// start turns an ExclusiveStartKey into a position.
func (src source) start(key map[string]value) (*record, *apiError) {
	if key == nil {
		return nil, nil
	}
	if err := checkAttributes(key); err != nil {
		return nil, err
	}
	names := src.keys()
	if len(key) != len(names) {
		return nil, invalid("Exclusive Start Key must have same size as table's key schema")
	}
	for _, name := range names {
		v, ok := key[name]
		if !ok {
			return nil, invalid("The provided starting key is invalid")
		}
		want := src.table.schema.kind(name)
		if slices.Contains(src.schema.names(), name) {
			want = src.schema.kind(name)
		}
		if v.kind != want {
			return nil, invalid("Type mismatch for attribute to update")
		}
	}
	id, err := src.table.keyOf(key)
	if err != nil {
		return nil, invalid("The provided starting key is invalid")
	}
	return newRecord(key, src.schema, id), nil
}

// page reads records one after the other until the limit, the page size or the end.
func (src source) page(in *reading, records []*record, filter *expr, proj projection, c *consumed) *pageOutput {
	out := &pageOutput{}
	items := []map[string]value{}
	bytes := 0
	for i, r := range records {
		out.ScannedCount++
		bytes += r.size
		if filter.holds(r.attrs) {
			out.Count++
			if in.Select != "COUNT" {
				items = append(items, proj.apply(r.attrs))
			}
		}
		full := bytes >= maxPageSize && i+1 < len(records)
		if full || in.Limit != nil && out.ScannedCount == *in.Limit {
			out.LastEvaluatedKey = map[string]value{}
			for _, name := range src.keys() {
				out.LastEvaluatedKey[name] = r.attrs[name]
			}
			break
		}
	}
	if in.Select != "COUNT" {
		out.Items = &items
	}
	c.read(src.table, nil, 0)
	c.read(src.table, src.index, readUnits(bytes, in.ConsistentRead))
	out.ConsumedCapacity = c.single(in.ReturnConsumedCapacity)
	return out
}

func (s *Server) scan(in *scanInput, c *consumed) (any, *apiError) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := in.checkSegments(); err != nil {
		return nil, err
	}
	if in.ScanFilter != nil {
		switch {
		case in.FilterExpression != nil:
			return nil, mixed("ScanFilter", "FilterExpression")
		case in.ProjectionExpression != nil:
			return nil, mixed("ScanFilter", "ProjectionExpression")
		}
	}
	holders, err := newPlaceholders(in.ExpressionAttributeNames, in.ExpressionAttributeValues,
		in.FilterExpression != nil || in.ProjectionExpression != nil, ": FilterExpression is null")
	if err != nil {
		return nil, err
	}
	filter, proj, err := in.expressions(holders)
	if err != nil {
		return nil, err
	}
	if err := holders.unused(); err != nil {
		return nil, err
	}
	if in.FilterExpression == nil {
		if filter, err = legacyFilter(in.ScanFilter, in.ConditionalOperator); err != nil {
			return nil, err
		}
	}
	src, err := s.source(&in.reading, "scanning")
	if err != nil {
		return nil, err
	}
	if err := src.checkProjected(&in.reading, filter, proj); err != nil {
		return nil, err
	}
	from, err := src.start(in.ExclusiveStartKey)
	if err != nil {
		return nil, err
	}
	records := src.shelf.view(!in.ConsistentRead)
	if from != nil {
		records = records[after(records, from):]
	}
	if in.TotalSegments != nil {
		records = segment(records, uint64(*in.Segment), uint64(*in.TotalSegments))
	}
	return src.page(&in.reading, records, filter, proj, c), nil
}

func (in *scanInput) checkSegments() *apiError {
	const tooBig = "1 validation error detected: Value '%d' at '%s' failed to satisfy constraint: Member must have value less than or equal to %d"
	switch {
	case in.Segment == nil && in.TotalSegments == nil:
		return nil
	case in.TotalSegments == nil:
		return invalid("If segment is specified, total segment must also be specified")
	case in.Segment == nil:
		return invalid("If total segments is specified, a particular segment must also be specified for this request")
	case *in.TotalSegments > 1000000:
		return invalid(fmt.Sprintf(tooBig, *in.TotalSegments, "totalSegments", 1000000))
	case *in.Segment < 0 || *in.Segment >= *in.TotalSegments:
		return invalid(fmt.Sprintf(tooBig, *in.Segment, "segment", *in.TotalSegments-1))
	}
	return nil
}

// segment cuts out the records whose place falls into one of the equal parts.
func segment(records []*record, which, total uint64) []*record {
	begin := func(n uint64) int {
		i, _ := slices.BinarySearchFunc(records, n, func(r *record, n uint64) int {
			part, _ := bits.Mul64(r.place, total)
			if part < n {
				return -1
			}
			return 1
		})
		return i
	}
	return records[begin(which):begin(which+1)]
}

func (s *Server) query(in *queryInput, c *consumed) (any, *apiError) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if in.ConditionalOperator != "" {
		return nil, unsupported("Query: parameter ConditionalOperator")
	}
	if in.KeyConditionExpression == nil {
		return nil, invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
	}
	holders, err := newPlaceholders(in.ExpressionAttributeNames, in.ExpressionAttributeValues, true, "")
	if err != nil {
		return nil, err
	}
	keyCond, err := parseCondition("KeyConditionExpression", *in.KeyConditionExpression, holders)
	if err != nil {
		return nil, err
	}
	filter, proj, err := in.expressions(holders)
	if err != nil {
		return nil, err
	}
	if err := holders.unused(); err != nil {
		return nil, err
	}
	src, err := s.source(&in.reading, "querying")
	if err != nil {
		return nil, err
	}
	hash, rest, err := src.keyCondition(keyCond)
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	filter.names(used)
	for _, name := range src.schema.names() {
		if used[name] {
			return nil, invalid("Filter Expression can only contain non-primary key attributes: Primary key attribute: " + name)
		}
	}
	if err := src.checkProjected(&in.reading, filter, proj); err != nil {
		return nil, err
	}
	from, err := src.start(in.ExclusiveStartKey)
	if err != nil {
		return nil, err
	}
	if from != nil && (!from.hash.equal(hash) || !rest.holds(from.attrs)) {
		return nil, invalid("The provided starting key does not match the range key predicate")
	}
	backward := in.ScanIndexForward != nil && !*in.ScanIndexForward
	records := src.shelf.view(!in.ConsistentRead)
	records = between(records, hash, rest, from, backward)
	return src.page(&in.reading, records, filter, proj, c), nil
}

// between returns the records of one hash key that hold the condition, from a position on.
func between(records []*record, hash value, rest *expr, from *record, backward bool) []*record {
	at := place(hash)
	i, _ := slices.BinarySearchFunc(records, at, func(r *record, at uint64) int {
		if r.place < at {
			return -1
		}
		return 1
	})
	var out []*record
	for ; i < len(records) && records[i].place == at; i++ {
		r := records[i]
		if !r.hash.equal(hash) || !rest.holds(r.attrs) {
			continue
		}
		if from != nil {
			c := compareRecords(r, from)
			if c == 0 || (c < 0) != backward {
				continue
			}
		}
		out = append(out, r)
	}
	if backward {
		slices.Reverse(out)
	}
	return out
}

// keyCondition takes a key condition apart: the hash key's value and the sort key's condition.
func (src source) keyCondition(e *expr) (hash value, rest *expr, err *apiError) {
	parts := e.conjuncts(nil)
	seen := map[string]*expr{}
	for _, part := range parts {
		name, err := src.keyPart(part)
		if err != nil {
			return value{}, nil, err
		}
		if seen[name] != nil {
			return value{}, nil, invalid("KeyConditionExpressions must only contain one condition per key")
		}
		seen[name] = part
	}
	h := seen[src.schema.hash]
	if h == nil {
		return value{}, nil, invalid("Query condition missed key schema element")
	}
	if h.op != "=" {
		return value{}, nil, invalid("Query key condition not supported")
	}
	if len(parts) > 2 {
		return value{}, nil, invalid("Query key condition not supported")
	}
	if len(parts) == 2 {
		if rest = seen[src.schema.sort]; rest == nil || src.schema.sort == "" {
			return value{}, nil, invalid("Query key condition not supported")
		}
	}
	for name, part := range seen {
		for _, a := range part.args {
			if a.op != "value" {
				continue
			}
			if a.value.kind != src.schema.kind(name) {
				return value{}, nil, invalid("One or more parameter values were invalid: Condition parameter type does not match schema type")
			}
			if a.value.kind != "N" && a.value.s == "" {
				if src.index != nil {
					return value{}, nil, emptyIndexKey(src.index.name, name)
				}
				return value{}, nil, invalid("One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: " + name)
			}
			if name == src.schema.hash {
				hash = a.value
			}
		}
	}
	return hash, rest, nil
}

// conjuncts takes the ANDs apart.
func (e *expr) conjuncts(out []*expr) []*expr {
	if e.op != "AND" {
		return append(out, e)
	}
	return e.args[1].conjuncts(e.args[0].conjuncts(out))
}

// keyPart checks one comparison and names its key.
func (src source) keyPart(e *expr) (string, *apiError) {
	switch e.op {
	case "=", "<", "<=", ">", ">=", "BETWEEN", "begins_with":
	default:
		return "", invalid("Invalid operator used in KeyConditionExpression: " + e.op)
	}
	name := ""
	for i, a := range e.args {
		switch {
		case a.op == "size":
			return "", invalid("KeyConditionExpressions cannot contain nested operations")
		case a.op != "path":
		case name != "":
			return "", invalid("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
		case len(a.path) > 1:
			return "", invalid("Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: Key: " + a.path[0].name)
		case i > 0 && (e.op == "BETWEEN" || e.op == "begins_with"):
			return "", invalid("Query key condition not supported")
		default:
			name = a.path[0].name
		}
	}
	if name == "" {
		return "", invalid("Invalid condition in KeyConditionExpression: No key attribute specified")
	}
	return name, nil
}
