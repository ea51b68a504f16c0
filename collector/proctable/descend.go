package proctable

// Descendants lists the live processes that were forked from a process, directly or through others, whoever has adopted
// them since.
func (t *Table) Descendants(of Key) []Key {
	var out []Key
	for k, p := range t.all {
		if p.exited || k == of {
			continue
		}
		for a := p.image.Parent; a != nil; a = a.Parent {
			if a.Row.PID == of.PID && a.Row.Start == of.Start {
				out = append(out, k)
				break
			}
		}
	}
	return out
}
