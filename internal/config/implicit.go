package config

// implicitConns are the connections that exist without being written,
// freeswan.md 2.14. What they have in common is in addImplicit.
var implicitConns = []struct {
	name   string
	params [][2]string
}{
	{"packetdefault", append([][2]string{{"type", "tunnel"}, {"right", "%opportunistic"}, {"failureshunt", "passthrough"}, {"leftsubnet", "0.0.0.0/0,::/0"}}, oeLives...)},
	{"clear", [][2]string{{"type", "passthrough"}, {"authby", "never"}, {"right", "%group"}}},
	{"clear-or-private", append([][2]string{{"type", "passthrough"}, {"right", "%opportunisticgroup"}, {"failureshunt", "passthrough"}}, oeLives...)},
	{"private-or-clear", append([][2]string{{"type", "tunnel"}, {"right", "%opportunisticgroup"}, {"failureshunt", "passthrough"}}, oeLives...)},
	{"private", append([][2]string{{"type", "tunnel"}, {"right", "%opportunisticgroup"}, {"failureshunt", "drop"}}, oeLives...)},
	{"block", [][2]string{{"type", "reject"}, {"authby", "never"}, {"right", "%group"}}},
}

var oeLives = [][2]string{{"authby", "rsasig"}, {"keyingtries", "3"}, {"ikelifetime", "1h"}, {"keylife", "1h"}, {"rekey", "no"}}

var implicitCommon = [][2]string{{"left", "%defaultroute"}, {"leftid", "%myid"}, {"leftrsasigkey", "%dnsondemand"}, {"rightrsasigkey", "%dnsondemand"}, {"auto", "route"}}

// addImplicit appends the built-in connections that no section replaces, and
// returns the names of those that one does. They have no place in a file.
func (d *document) addImplicit() (replaced []string) {
	for _, i := range implicitConns {
		if d.find("conn", i.name) != nil {
			replaced = append(replaced, i.name)
			continue
		}
		s := &section{kind: "conn", name: i.name, implicit: true}
		for _, pair := range append(append([][2]string(nil), implicitCommon...), i.params...) {
			s.add(paramItem{pair[0], pair[1]}, Pos{})
		}
		d.insert(s)
	}
	return replaced
}
