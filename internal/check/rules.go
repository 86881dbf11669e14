package check

// Rule is one row of the table of rules.
type Rule struct {
	ID       string
	Severity Severity // of its findings, unless one says otherwise
	Doc      string   // what it finds
	Why      string   // the reason in one sentence

	needs func(*Gateway) bool           // what must be known; nil: nothing
	wants string                        // the same in words
	each  func(*Gateway, *found)        // for one gateway
	pair  func(a, b *Gateway, _ *found) // for both ends together
}

// Rules lists all rules in order of their ids.
func Rules() []Rule { return append([]Rule(nil), rules...) }

// RuleNAT is the rule that `ipsec verify` has a line for.
const RuleNAT = "FW106"

// rules is all there is to know about a rule but how it looks.
var rules = []Rule{
	{ID: "CFG001", Severity: Error, Doc: "a configuration file cannot be used", Why: "what cannot be read might have been about every connection, so that nothing is started", each: cfgGeneral},
	{ID: "CFG002", Severity: Error, Doc: "a connection cannot be used", Why: "a connection with an error is left out, and the others are loaded without it", each: cfgConn},
	{ID: "CFG003", Severity: Warning, Doc: "a parameter does not do what it says", Why: "what is written differs from what happens", each: cfgWarning},
	{ID: "CFG004", Severity: Error, Doc: "an entry of ipsec.secrets cannot be used", Why: "an entry with an error is left out, and whoever needs it fails to authenticate", each: secretsError},
	{ID: "CFG005", Severity: Warning, Doc: "an entry of ipsec.secrets does not do what it says", Why: "what is written differs from what happens", each: secretsWarning},

	{ID: "FW001", Severity: Warning, Doc: "a grid of connections between many subnets of both ends", Why: "every pair of subnets has SAs of its own to make and to renew, and the number grows with the product", each: grid},
	{ID: "FW002", Severity: Info, Doc: "more than 50 connections to one peer", Why: "all of them are negotiated again whenever one of the two gateways restarts", each: manyConns},
	{ID: "FW003", Severity: Info, Doc: "two nets are joined, but their gateways are not", Why: "a connection between two nets does not cover packets that a gateway itself sends or gets", each: matrix},
	{ID: "FW004", Severity: Error, Doc: "a public net that is reached in the clear until the connection is up", Why: "packets to routable addresses follow the ordinary route while no policy stands in their way", each: clearUntilUp},
	{ID: "FW005", Severity: Warning, Doc: "only one of the two ends starts the connection", Why: "when the end that does not start it restarts, the tunnel may stay down until the other renews its keys", pair: oneStarter},
	{ID: "FW006", Severity: Error, Doc: "an example key of a manual is in use", Why: "everybody can read it where it was copied from, so that it protects nothing", each: exampleKeys},
	{ID: "FW007", Severity: Error, Doc: "a file with secrets is open to others than root", Why: "whoever reads a secret can take the place of its owner", each: exposedFiles},
	{ID: "FW008", Severity: Error, Doc: "road warriors share one secret", Why: "each of them can pretend to be any other, or the gateway itself", each: sharedByRoadWarriors},
	{ID: "FW009", Severity: Warning, Doc: "a shared secret of less than 128 bits", Why: "whoever records one negotiation can try secrets at leisure, without being seen", each: weakSecrets},
	{ID: "FW010", Severity: Warning, Doc: "one secret for several pairs of gateways", Why: "every holder of the secret can pretend to be any other one", each: reusedSecrets, pair: reusedBetween},
	{ID: "FW011", Severity: Warning, Doc: "manual keying", Why: "static keys never change: one that is lost opens everything ever sent with it", each: manualKeying},
	{ID: "FW012", Severity: Error, Doc: "an SPI of manual keying that is not usable, or used twice", Why: "an SPI names one SA, and those from 0x1000 up are for negotiated ones", each: manualSPIs},
	{ID: "FW013", Severity: Error, Doc: "encryption without authentication", Why: "whoever is on the way can change encrypted packets unseen, and learn from what happens", each: unauthenticated},
	{ID: "FW014", Severity: Warning, Doc: "interfaces= names a device that cannot carry tunnels", Why: "connections of an address that no attached device has are not loaded", needs: knowsInterfaces, wants: "the interfaces of the machine", each: interfaces},
	{ID: "FW015", Severity: Warning, Doc: "a subnet has bits beyond its mask", Why: "the bits are cleared, which may not be the range that was meant", each: hostBits},
	{ID: "FW016", Severity: Info, Doc: "a route that was left behind, or that will be replaced", Why: "routes stay after --down until --unroute, and a route of others that had to give way is not put back", needs: knowsRoutes, wants: "the routes of the machine", each: staleRoutes},
	{ID: "FW017", Severity: Error, Doc: "a tunnel to everywhere that leaves the gateway no way of its own", Why: "what the tunnel covers goes in or is discarded; only IKE, ESP and nets with a route of their own are exempt", each: everywhere},
	{ID: "FW018", Severity: Info, Doc: "a virtual address where none is needed", Why: "the address that the visitor has anyway serves as well, and needs no agreement", each: virtualAddress},
	{ID: "FW019", Severity: Error, Doc: "a DNS server that opportunistic encryption may hold up", Why: "the first packet to it would wait for an answer that only it can give", needs: knowsDNS, wants: "the DNS servers of the machine", each: dnsServers},
	{ID: "FW020", Severity: Error, Doc: "DNS records of gateway and clients with different keys", Why: "a peer that finds another key at the client than at its gateway refuses", needs: knowsTXT, wants: "the records in DNS", each: dnsKeys},

	{ID: "FW101", Severity: Warning, Doc: "algorithms below RFC 8247 and RFC 8221", Why: "these algorithms are out of use because they are, or soon will be, too weak", each: weakAlgorithms},
	{ID: "FW102", Severity: Warning, Doc: "a certificate that peers will not accept", Why: "peers refuse a certificate that has expired or does not say what it is for", each: certificates},
	{ID: "FW103", Severity: Warning, Doc: "a connection that another one hides", Why: "two connections of the same nets share one eroute, and the first in the file has it", each: hidden},
	{ID: "FW104", Severity: Warning, Doc: "a connection that is not of this machine", Why: "a connection neither end of which is an address of this machine is never used here", needs: knowsInterfaces, wants: "the interfaces of the machine", each: notOurs},
	{ID: "FW105", Severity: Error, Doc: "tunnels that lead into each other", Why: "the way to each peer would be through the tunnel to the other", each: loops},
	{ID: RuleNAT, Severity: Warning, Doc: "a NAT rule of the machine that rewrites tunnel traffic", Why: "a rewritten source address matches no eroute, and what should be protected is discarded", needs: knowsNAT, wants: "the NAT rules of the machine", each: natRules},
	{ID: "FW107", Severity: Warning, Doc: "an MTU that leaves no room for ESP", Why: "packets that fill it are fragmented outside, or lost where fragments are dropped", each: overhead},
	{ID: "FW108", Severity: Error, Doc: "Aggressive Mode with a shared secret", Why: "it hands a hash of the secret to anybody who asks, to try secrets on", each: aggressive},
	{ID: "FW109", Severity: Error, Doc: "one identity with different keys", Why: "which of them proves the identity depends on the connection that happens to be chosen", each: sharedIdentity},
	{ID: "FW110", Severity: Error, Doc: "the two ends describe a connection differently", Why: "the ends must agree, or the negotiation fails", pair: disagree},
	{ID: "FW111", Severity: Warning, Doc: "a connection without a counterpart at the other end", Why: "the other gateway refuses what it knows no connection for", pair: unmatched},
	{ID: "FW112", Severity: Error, Doc: "the two ends hold different secrets or keys for each other", Why: "each end must hold what the other proves itself with", pair: differentKeys},
}
