package model

// The expiry by itself: two servers whose clocks and idle times may differ use one session, by touches and saves
// whose load and write are apart.

const (
	forwardOnly clause = "a save moves the expiry forward only"
	touchesGrow clause = "a touch moves the expiry forward only"
	lowersFar   clause = "an expiry that is too far away is lowered"
	lowersSeen  clause = "a save lowers the expiry that it has loaded, and no other"
	hasMargin   clause = "too far is beyond the margin for clocks"
)

const margin = 2 // ticks that clocks may be apart

type server struct{ idle, skew int8 }

type expiryScenario struct {
	name    string
	servers [2]server
	begin   int8 // the stored expiry
	saves   bool // the uses save; else they touch
	without clause
}

type use struct {
	stage  int8 // 0: not begun, 1: loaded, 2: done
	loaded int8
	wrote  int8
}

type expiryState struct {
	now, expires int8
	uses         [2]use
}

func (sc *expiryScenario) check() (violation, int) {
	seen := map[expiryState]bool{}
	stack := []expiryState{{expires: sc.begin}}
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[s] {
			continue
		}
		seen[s] = true
		if s.now < 4 {
			n := s
			n.now++
			stack = append(stack, n)
		}
		for i := range sc.servers {
			n := s
			switch s.uses[i].stage {
			case 0:
				if s.expires <= s.now+sc.servers[i].skew {
					continue // over
				}
				n.uses[i] = use{stage: 1, loaded: s.expires}
			case 1:
				if fault := sc.write(&n, i); fault != "" {
					return fault, len(seen)
				}
			default:
				continue
			}
			stack = append(stack, n)
		}
	}
	return "", len(seen)
}

func (sc *expiryScenario) has(c clause) bool { return sc.without != c }

// write is a touch or a save of server i, with the item that a refusal shows if it must be repeated.
func (sc *expiryScenario) write(s *expiryState, i int) violation {
	me := sc.servers[i]
	now := s.now + me.skew
	u := &s.uses[i]
	for {
		far := int8(margin)
		if !sc.has(hasMargin) {
			far = 0
		}
		tooFar := u.loaded > now+me.idle+far && sc.has(lowersFar)
		want := max(u.loaded, now+me.idle)
		if tooFar || !sc.has(forwardOnly) && sc.saves {
			want = now + me.idle
		}
		var ok bool
		switch {
		case sc.saves:
			ok = !sc.has(forwardOnly) || s.expires <= want || tooFar && (s.expires == u.loaded || !sc.has(lowersSeen))
		case tooFar:
			ok = s.expires == u.loaded
		default:
			want = now + me.idle
			ok = !sc.has(touchesGrow) || s.expires < want
		}
		if !ok && sc.saves { // again, with the end that the item has
			u.loaded = s.expires
			continue
		}
		before := s.expires
		if ok {
			s.expires = want
		}
		u.stage, u.wrote = 2, s.expires
		alike := sc.servers[0].idle == sc.servers[1].idle && (sc.begin <= me.idle+margin || s.uses[1-i].stage == 2)
		if alike && s.expires < before {
			return "a slow clock ends the session earlier for the others"
		}
		if s.expires > now+me.idle+margin && s.uses[1-i].stage != 2 && (sc.saves || s.expires == u.loaded) {
			return "a use leaves an expiry beyond its server's setting"
		}
		return ""
	}
}
