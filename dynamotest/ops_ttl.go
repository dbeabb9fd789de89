package dynamotest

import (
	"strconv"
	"time"
)

type ttlSpecification struct {
	Enabled       bool
	AttributeName string
}

type updateTTLInput struct {
	TableName               string
	TimeToLiveSpecification *ttlSpecification
}

func (s *Server) updateTimeToLive(in *updateTTLInput, _ *consumed) (any, *apiError) {
	spec := in.TimeToLiveSpecification
	if spec == nil {
		return nil, invalid("TimeToLiveSpecification cannot be null")
	}
	if spec.AttributeName == "" || len(spec.AttributeName) > 255 {
		return nil, invalid("Names of key attributes and attributes projected into an index must be between 1 and 255 characters, inclusive")
	}
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	switch {
	case t.ttl == "" && !spec.Enabled:
		return nil, invalid("TimeToLive is already disabled")
	case t.ttl != "" && t.ttl != spec.AttributeName:
		return nil, invalid("TimeToLive is active on a different AttributeName")
	case t.ttl != "" && spec.Enabled:
		return nil, invalid("TimeToLive is already enabled")
	}
	t.ttl = ""
	if spec.Enabled {
		t.ttl = spec.AttributeName
	}
	return map[string]any{"TimeToLiveSpecification": spec}, nil
}

func (s *Server) describeTimeToLive(in *tableInput, _ *consumed) (any, *apiError) {
	t, err := s.table(in.TableName)
	if err != nil {
		return nil, err
	}
	d := map[string]any{"TimeToLiveStatus": "DISABLED"}
	if t.ttl != "" {
		d = map[string]any{"TimeToLiveStatus": "ENABLED", "AttributeName": t.ttl}
	}
	return map[string]any{"TimeToLiveDescription": d}, nil
}

// ExpireItems deletes what DynamoDB's TTL would by now: in every table with TTL enabled, the items
// whose TTL attribute is a number of seconds since 1970 that has passed, but not by more than five
// years. It returns how many it deleted. Nothing expires by itself: the service too takes up to
// days, so a program must not rely on it.
func (s *Server) ExpireItems() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	from, to := secondsNumber(now.AddDate(-5, 0, 0)), secondsNumber(now)
	n := 0
	for _, t := range s.tables {
		if t.ttl == "" {
			continue
		}
		for _, r := range append([]*record(nil), t.records...) {
			v := r.attrs[t.ttl]
			if v.kind == "N" && v.n.compare(from) > 0 && v.n.compare(to) < 0 {
				t.write(r, nil, &consumed{})
				n++
			}
		}
	}
	return n
}

func secondsNumber(t time.Time) number {
	n, _ := parseNumber(strconv.FormatInt(t.Unix(), 10)) // whole seconds always fit
	return n
}
