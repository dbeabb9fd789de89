package dynamotest

// HoldReplicas freezes what eventually consistent reads of the tables see, as a replica that lags
// does: GetItem, BatchGetItem, Query and Scan without ConsistentRead answer from this moment's
// items until ReleaseReplicas. Tables made later are not held.
func (s *Server) HoldReplicas() { s.eachTable(func(t *table) { t.hold() }) }

// ReleaseReplicas lets eventually consistent reads see the present again.
func (s *Server) ReleaseReplicas() { s.eachTable(func(t *table) { t.release() }) }

// HoldIndexes freezes what reads of global secondary indexes see until ReleaseIndexes, as an index
// that has not caught up does. Indexes made later are not held.
func (s *Server) HoldIndexes() {
	s.eachTable(func(t *table) {
		for _, x := range t.indexes {
			x.hold()
		}
	})
}

// ReleaseIndexes lets the indexes catch up.
func (s *Server) ReleaseIndexes() {
	s.eachTable(func(t *table) {
		for _, x := range t.indexes {
			x.release()
		}
	})
}

func (s *Server) eachTable(f func(*table)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		f(t)
	}
}
