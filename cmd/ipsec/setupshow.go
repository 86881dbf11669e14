package main

import (
	"fmt"

	"cygnet/internal/config"
)

// What `ipsec setup --show` prints: the work of a start or stop as the commands
// that would do it one by one (freeswan.md 4.2). The daemon does the same by
// itself, in this order.

// show prints the actions of an operation, each after a tab.
func (s *setup) show(op string, file *config.File) {
	var list []string
	if op != "start" && s.running() || op == "stop" {
		list = append(list, stopActions(&file.Setup)...)
	}
	if op != "stop" {
		list = append(list, startActions(file)...)
	}
	for _, a := range list {
		s.say("\t%s", a)
	}
}

func stopActions(setup *config.Setup) []string {
	list := []string{"ipsec whack --shutdown", "ipsec eroute --clear", "ipsec spi --clear"}
	for _, i := range setup.Interfaces {
		list = append(list, "ipsec tncfg --detach --virtual "+i.Virtual)
	}
	return list
}

func startActions(file *config.File) []string {
	setup := &file.Setup
	var list []string
	daemon := "ipsec klips --background"
	if setup.Pluto {
		daemon = "ipsec pluto --background"
		if setup.PrePluto != "" {
			list = append(list, setup.PrePluto)
		}
	}
	list = append(list, daemon)
	for _, i := range setup.Interfaces {
		list = append(list, fmt.Sprintf("ipsec tncfg --attach --virtual %s --physical %s", i.Virtual, i.Physical))
	}
	if setup.ForwardCtl {
		list = append(list, "sysctl net.ipv4.ip_forward=1")
	}
	list = append(list, manualActions(file)...)
	if !setup.Pluto {
		return list
	}
	list = append(list, autoActions(file, "--add", config.AutoAdd, config.AutoRoute, config.AutoStart, config.AutoKeep)...)
	list = append(list, "ipsec auto --ready")
	if setup.PostPluto != "" {
		list = append(list, setup.PostPluto)
	}
	list = append(list, autoActions(file, "--route", config.AutoRoute, config.AutoStart)...)
	up := "--asynchronous --up"
	if setup.PlutoWait {
		up = "--up"
	}
	return append(list, autoActions(file, up, config.AutoStart)...)
}

// manualActions bring up what manualstart= and auto=manual name, in that order.
func manualActions(file *config.File) []string {
	var list []string
	named := map[string]bool{}
	for _, name := range file.Setup.ManualStart {
		named[name] = true
		list = append(list, "ipsec manual --up "+name)
	}
	for _, c := range file.Conns {
		if c.Auto == config.AutoManual && !named[c.Name] {
			list = append(list, "ipsec manual --up "+c.Name)
		}
	}
	return list
}

// autoActions do something with every connection whose auto= is among those.
// Groups and opportunistic connections are the daemon's own affair.
func autoActions(file *config.File, what string, when ...config.Startup) []string {
	var list []string
	for _, c := range file.Conns {
		for _, w := range when {
			if c.Auto == w && !c.Group() && !c.Opportunistic() {
				list = append(list, "ipsec auto "+what+" "+c.Name)
			}
		}
	}
	return list
}
