package dynamotest

import (
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Item returns the item whose key is one string, or nil if there is none. It sees the present, is no
// call, costs nothing and meets no fault.
func (s *Server) Item(table, key string) map[string]types.AttributeValue {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[table]
	if t == nil || t.schema.sort != "" {
		return nil
	}
	id, err := t.keyOf(map[string]value{t.schema.hash: {kind: "S", s: key}})
	if err != nil || t.items[id] == nil {
		return nil
	}
	return export(t.items[id].attrs)
}

// Items returns all items of a table, in the order of Scan and under the same terms as Item.
func (s *Server) Items(table string) []map[string]types.AttributeValue {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[table]
	if t == nil {
		return nil
	}
	out := make([]map[string]types.AttributeValue, len(t.records))
	for i, r := range t.records {
		out[i] = export(r.attrs)
	}
	return out
}

func export(attrs map[string]value) map[string]types.AttributeValue {
	out := make(map[string]types.AttributeValue, len(attrs))
	for name, v := range attrs {
		out[name] = v.export()
	}
	return out
}

func (v value) export() types.AttributeValue {
	switch v.kind {
	case "S":
		return &types.AttributeValueMemberS{Value: v.s}
	case "N":
		return &types.AttributeValueMemberN{Value: v.n.String()}
	case "B":
		return &types.AttributeValueMemberB{Value: []byte(v.s)}
	case "BOOL":
		return &types.AttributeValueMemberBOOL{Value: v.t}
	case "NULL":
		return &types.AttributeValueMemberNULL{Value: true}
	case "M":
		return &types.AttributeValueMemberM{Value: export(v.m)}
	case "L":
		list := make([]types.AttributeValue, len(v.l))
		for i, e := range v.l {
			list[i] = e.export()
		}
		return &types.AttributeValueMemberL{Value: list}
	}
	return v.exportSet()
}

func (v value) exportSet() types.AttributeValue {
	texts := make([]string, len(v.l))
	raws := make([][]byte, len(v.l))
	for i, e := range v.l {
		texts[i], raws[i] = e.s, []byte(e.s)
		if e.kind == "N" {
			texts[i] = e.n.String()
		}
	}
	switch v.kind {
	case "NS":
		return &types.AttributeValueMemberNS{Value: texts}
	case "BS":
		return &types.AttributeValueMemberBS{Value: raws}
	}
	return &types.AttributeValueMemberSS{Value: texts}
}
