// A memberlist node that speaks the agent's JSON lines (swim/cli/README.md) as far as memberlist can: the yardstick
// of the benchmarks, and the foreign member of the acceptance tests. One or many nodes in one process.
//
// Built by benchmarks/peers/memberlist/__init__.py against Debian's golang-github-hashicorp-memberlist-dev.
//
// What memberlist cannot do is refused with an `error` line (send, broadcast) or does not exist (leader,
// recover). Suspicion is silent in memberlist except in the log of the member whose own probe failed, so
// `suspect` comes from there, once for each failed probe: the first suspicion is exact, hearsay is not seen.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/hashicorp/go-msgpack/codec"
	"github.com/hashicorp/memberlist"
	"golang.org/x/sys/unix"
)

const (
	exitCannotStart = 1
	exitBadOptions  = 2

	outputQueue  = 1 << 16 // lines that wait for a slow reader before lines are dropped
	leaveTimeout = 5 * time.Second
	joinRetry    = time.Second
	serfTags     = 0xff // first byte of Meta when a msgpack map of strings follows
)

// ---------------------------------------------------------------- output

type fields map[string]interface{}

// output writes lines through a bounded queue, so that a reader that stops reading does not stall a node.
type output struct {
	lines   chan fields
	dropped uint64
	done    chan struct{}
}

func newOutput() *output {
	o := &output{lines: make(chan fields, outputQueue), done: make(chan struct{})}
	go o.write()
	return o
}

func (o *output) write() {
	defer close(o.done)
	w := bufio.NewWriterSize(os.Stdout, 1<<16)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	for line := range o.lines {
		encoder.Encode(line)
		if len(o.lines) == 0 && w.Flush() != nil {
			return
		}
	}
	w.Flush()
}

func (o *output) emit(node, event string, more fields) {
	line := fields{"t": monotonic(), "node": node, "event": event}
	for key, value := range more {
		line[key] = value
	}
	select {
	case o.lines <- line:
	default:
		atomic.AddUint64(&o.dropped, 1)
	}
}

// finish gives the reader a moment to take what is queued.
func (o *output) finish() {
	close(o.lines)
	select {
	case <-o.done:
	case <-time.After(time.Second):
	}
}

// monotonic is CLOCK_MONOTONIC, which every process of the machine shares.
func monotonic() float64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return float64(ts.Nano()/1000) / 1e6
}

// ---------------------------------------------------------------- counting transport

type traffic struct {
	txPackets, txBytes, rxPackets, rxBytes uint64
	streamTxBytes, streamRxBytes, streams  uint64
}

// countedTransport is memberlist's own transport with every payload byte counted on its way.
type countedTransport struct {
	*memberlist.NetTransport
	total   *traffic
	packets chan *memberlist.Packet
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newCountedTransport(inner *memberlist.NetTransport, total *traffic) *countedTransport {
	t := &countedTransport{
		NetTransport: inner,
		total:        total,
		packets:      make(chan *memberlist.Packet),
		conns:        make(chan net.Conn),
		closed:       make(chan struct{}),
	}
	go t.forward()
	return t
}

func (t *countedTransport) forward() {
	for {
		select {
		case packet := <-t.NetTransport.PacketCh():
			atomic.AddUint64(&t.total.rxPackets, 1)
			atomic.AddUint64(&t.total.rxBytes, uint64(len(packet.Buf)))
			select {
			case t.packets <- packet:
			case <-t.closed:
			}
		case conn := <-t.NetTransport.StreamCh():
			select {
			case t.conns <- t.counted(conn):
			case <-t.closed:
				conn.Close()
			}
		case <-t.closed:
			return
		}
	}
}

func (t *countedTransport) PacketCh() <-chan *memberlist.Packet { return t.packets }
func (t *countedTransport) StreamCh() <-chan net.Conn           { return t.conns }

func (t *countedTransport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (t *countedTransport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	atomic.AddUint64(&t.total.txPackets, 1)
	atomic.AddUint64(&t.total.txBytes, uint64(len(b)))
	return t.NetTransport.WriteToAddress(b, addr)
}

func (t *countedTransport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (t *countedTransport) DialAddressTimeout(a memberlist.Address, d time.Duration) (net.Conn, error) {
	conn, err := t.NetTransport.DialAddressTimeout(a, d)
	if err != nil {
		return nil, err
	}
	return t.counted(conn), nil
}

// Shutdown keeps forwarding until the listeners are gone: one of them may be waiting to hand over a packet.
func (t *countedTransport) Shutdown() error {
	err := t.NetTransport.Shutdown()
	t.once.Do(func() { close(t.closed) })
	return err
}

func (t *countedTransport) counted(conn net.Conn) net.Conn {
	atomic.AddUint64(&t.total.streams, 1)
	return &countedConn{conn, t.total}
}

type countedConn struct {
	net.Conn
	total *traffic
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	atomic.AddUint64(&c.total.streamRxBytes, uint64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	atomic.AddUint64(&c.total.streamTxBytes, uint64(n))
	return n, err
}

// ---------------------------------------------------------------- tags

var msgpack = func() *codec.MsgpackHandle {
	handle := &codec.MsgpackHandle{}
	handle.RawToString = true
	return handle
}()

func encodeTags(tags map[string]string) []byte {
	var buf bytes.Buffer
	buf.WriteByte(serfTags)
	codec.NewEncoder(&buf, msgpack).Encode(tags)
	return buf.Bytes()
}

// decodeTags understands Serf's form; any other Meta is shown as the one tag `meta`.
func decodeTags(meta []byte) map[string]string {
	tags := map[string]string{}
	if len(meta) == 0 {
		return tags
	}
	if meta[0] != serfTags || codec.NewDecoderBytes(meta[1:], msgpack).Decode(&tags) != nil {
		return map[string]string{"meta": text(string(meta))}
	}
	return tags
}

// shown are the tags of the application, and the member's id if it has one.
func shown(meta []byte) (map[string]string, interface{}) {
	tags := map[string]string{}
	var id interface{}
	for name, value := range decodeTags(meta) {
		if name == "_id" {
			id = text(value)
		}
		if !strings.HasPrefix(name, "_") {
			tags[text(name)] = text(value)
		}
	}
	return tags, id
}

func text(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// ---------------------------------------------------------------- one node

type node struct {
	name    string
	out     *output
	list    *memberlist.Memberlist
	keyring *memberlist.Keyring

	mu      sync.Mutex
	tags    map[string]string
	stopped bool
}

// memberlist.Delegate: only the tags are used.

func (n *node) NodeMeta(limit int) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return encodeTags(n.tags)
}
func (n *node) NotifyMsg([]byte)                           {}
func (n *node) GetBroadcasts(overhead, limit int) [][]byte { return nil }
func (n *node) LocalState(join bool) []byte                { return nil }
func (n *node) MergeRemoteState(buf []byte, join bool)     {}

// memberlist.EventDelegate; called with memberlist's lock held, about ourselves too.

func (n *node) NotifyJoin(m *memberlist.Node) {
	if m.Name != n.name {
		tags, id := shown(m.Meta)
		n.emit("join", fields{"member": text(m.Name), "id": id, "address": m.Address(), "tags": tags})
	}
}

func (n *node) NotifyUpdate(m *memberlist.Node) {
	if m.Name != n.name {
		tags, id := shown(m.Meta)
		n.emit("update", fields{"member": text(m.Name), "id": id, "tags": tags})
	}
}

func (n *node) NotifyLeave(m *memberlist.Node) {
	if m.Name == n.name {
		return
	}
	if hasLeft(m) {
		n.emit("leave", fields{"member": text(m.Name)})
	} else {
		n.emit("dead", fields{"member": text(m.Name), "reason": "silence"})
	}
}

// nodeState repeats the head of memberlist's unexported type, whose embedded Node the delegate is given.
// Node.State itself is never filled by memberlist 0.2.2 (the outer State hides it), and nothing else tells
// a member that left from one that failed.
type nodeState struct {
	memberlist.Node
	Incarnation uint32
	State       memberlist.NodeStateType
	StateChange time.Time
}

func hasLeft(m *memberlist.Node) bool {
	state := (*nodeState)(unsafe.Pointer(m))
	if age := time.Since(state.StateChange); age < -time.Minute || age > time.Minute {
		return false // another layout: StateChange was set just before this call
	}
	return state.State == memberlist.StateLeft
}

// Write receives memberlist's log, one line a call: the only place where a suspicion shows.
func (n *node) Write(line []byte) (int, error) {
	const before, after = "memberlist: Suspect ", " has failed, no acks received"
	s := string(line)
	if i, j := strings.Index(s, before), strings.Index(s, after); i >= 0 && j > i {
		n.emit("suspect", fields{"member": text(s[i+len(before) : j]), "phi": nil})
	}
	if showLog {
		os.Stderr.WriteString(n.name + " " + s)
	}
	return len(line), nil
}

var showLog bool

func (n *node) emit(event string, more fields) { n.out.emit(n.name, event, more) }

func (n *node) fail(err error) { n.emit("error", fields{"message": err.Error()}) }

func (n *node) start(base *memberlist.Config, host string, port int, keys [][]byte, total *traffic) error {
	config := *base
	config.Name = n.name
	config.BindAddr, config.BindPort = host, port
	config.AdvertiseAddr, config.AdvertisePort = "", port
	config.Delegate, config.Events = n, n
	config.Logger = log.New(n, "", 0)
	if len(keys) > 0 {
		ring, err := memberlist.NewKeyring(keys, keys[0])
		if err != nil {
			return err
		}
		config.Keyring, n.keyring = ring, ring
	}
	inner, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{host}, BindPort: port, Logger: config.Logger,
	})
	if err != nil {
		return err
	}
	config.BindPort = inner.GetAutoBindPort()
	config.AdvertisePort = config.BindPort
	config.Transport = newCountedTransport(inner, total)
	n.list, err = memberlist.Create(&config)
	return err
}

// enter joins through the seeds, again and again until one answers.
func (n *node) enter(seeds []string) {
	for len(seeds) > 0 {
		_, err := n.list.Join(seeds)
		if err == nil || n.isStopped() {
			break
		}
		n.fail(err)
		time.Sleep(joinRetry)
	}
	n.emit("started", fields{"address": n.list.LocalNode().Address(), "id": nil})
}

func (n *node) setTags(change func(tags map[string]string)) error {
	n.mu.Lock()
	tags := map[string]string{}
	for name, value := range n.tags {
		tags[name] = value
	}
	change(tags)
	if size := len(encodeTags(tags)); size > memberlist.MetaMaxSize {
		n.mu.Unlock()
		return fmt.Errorf("tags need %d bytes of %d: shorten them", size, memberlist.MetaMaxSize)
	}
	n.tags = tags
	n.mu.Unlock()
	return n.list.UpdateNode(leaveTimeout)
}

func (n *node) setKeys(keys [][]byte) error {
	if n.keyring == nil {
		return errors.New("started without --key: memberlist cannot begin to encrypt later")
	}
	for _, key := range keys {
		if err := n.keyring.AddKey(key); err != nil {
			return err
		}
	}
	if err := n.keyring.UseKey(keys[0]); err != nil {
		return err
	}
	for _, old := range n.keyring.GetKeys() {
		if !contains(keys, old) {
			if err := n.keyring.RemoveKey(old); err != nil {
				return err
			}
		}
	}
	return nil
}

func contains(keys [][]byte, wanted []byte) bool {
	for _, key := range keys {
		if bytes.Equal(key, wanted) {
			return true
		}
	}
	return false
}

func (n *node) isStopped() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stopped
}

// stop ends the node once; gracefully or without a word.
func (n *node) stop(graceful bool) {
	n.mu.Lock()
	already := n.stopped
	n.stopped = true
	n.mu.Unlock()
	if already {
		return
	}
	if graceful {
		if err := n.list.Leave(leaveTimeout); err != nil {
			n.fail(err)
		}
	}
	n.list.Shutdown()
}

// ---------------------------------------------------------------- commands

type process struct {
	nodes []*node
	out   *output
	ended chan struct{} // closed when no node is left
	once  sync.Once
}

// command runs one line of standard input, `@NAME command arguments..`, on one node or on all.
func (p *process) command(line string) {
	targets := p.nodes
	if strings.HasPrefix(line, "@") {
		parts := strings.SplitN(line[1:], " ", 2)
		targets, line = nil, ""
		for _, n := range p.nodes {
			if n.name == parts[0] {
				targets = []*node{n}
			}
		}
		if len(parts) == 2 {
			line = parts[1]
		}
		if targets == nil {
			p.nodes[0].fail(fmt.Errorf("no node %q in this process", parts[0]))
			return
		}
	}
	verb, rest := strings.TrimSpace(line), ""
	if i := strings.IndexByte(verb, ' '); i >= 0 {
		verb, rest = verb[:i], strings.TrimSpace(verb[i+1:])
	}
	if verb == "" {
		return
	}
	var wait sync.WaitGroup
	for _, target := range targets {
		wait.Add(1)
		go func(n *node) {
			defer wait.Done()
			if n.isStopped() {
				return
			}
			if err := n.run(verb, rest); err != nil {
				n.fail(err)
			}
		}(target)
	}
	go func() {
		wait.Wait()
		p.endIfEmpty()
	}()
}

func (n *node) run(verb, rest string) error {
	switch verb {
	case "join":
		_, err := n.list.Join(strings.Split(rest, ","))
		return err
	case "tags":
		tags, err := parseTags(strings.Fields(rest))
		if err != nil {
			return err
		}
		return n.setTags(func(mine map[string]string) {
			for name := range mine {
				delete(mine, name)
			}
			for name, value := range tags {
				mine[name] = value
			}
		})
	case "meta":
		return n.setTags(func(mine map[string]string) { mine["meta"] = rest })
	case "keys":
		keys, err := parseKeys(strings.Fields(rest))
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			return errors.New("keys needs at least one key")
		}
		return n.setKeys(keys)
	case "leave":
		n.stop(true)
		return nil
	case "kill-node":
		n.stop(false)
		return nil
	}
	return fmt.Errorf("unknown command, or one that memberlist has no means for: %s", verb)
}

func (p *process) endIfEmpty() {
	for _, n := range p.nodes {
		if !n.isStopped() {
			return
		}
	}
	p.once.Do(func() { close(p.ended) })
}

func (p *process) leaveAll() {
	var wait sync.WaitGroup
	for _, n := range p.nodes {
		wait.Add(1)
		go func(n *node) {
			defer wait.Done()
			n.stop(true)
		}(n)
	}
	wait.Wait()
	p.endIfEmpty()
}

func (p *process) readCommands() {
	scanner := bufio.NewScanner(os.Stdin)
	for scanner.Scan() {
		p.command(scanner.Text())
	}
	p.leaveAll()
}

func (p *process) reportStats(total *traffic) {
	for range time.Tick(time.Second) {
		var usage syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
		dropped := fields{}
		if n := atomic.LoadUint64(&p.out.dropped); n > 0 {
			dropped["output"] = n
		}
		seconds := func(tv syscall.Timeval) float64 { return float64(tv.Sec) + float64(tv.Usec)/1e6 }
		first := p.nodes[0]
		first.emit("stats", fields{
			"count": len(p.nodes), "members": first.list.NumMembers(),
			"cpu_s": seconds(usage.Utime) + seconds(usage.Stime), "rss_kib": residentKiB(),
			"tx_packets": atomic.LoadUint64(&total.txPackets), "tx_bytes": atomic.LoadUint64(&total.txBytes),
			"rx_packets": atomic.LoadUint64(&total.rxPackets), "rx_bytes": atomic.LoadUint64(&total.rxBytes),
			"stream_tx_bytes": atomic.LoadUint64(&total.streamTxBytes),
			"stream_rx_bytes": atomic.LoadUint64(&total.streamRxBytes),
			"streams":         atomic.LoadUint64(&total.streams),
			"dropped":         dropped,
		})
	}
}

func residentKiB() int {
	statm, _ := os.ReadFile("/proc/self/statm")
	parts := strings.Fields(string(statm))
	if len(parts) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(parts[1])
	return pages * os.Getpagesize() / 1024
}

// ---------------------------------------------------------------- options

type repeated []string

func (r *repeated) String() string     { return strings.Join(*r, ",") }
func (r *repeated) Set(s string) error { *r = append(*r, s); return nil }

func parseTags(pairs []string) (map[string]string, error) {
	tags := map[string]string{}
	for _, pair := range pairs {
		i := strings.IndexByte(pair, '=')
		if i < 1 {
			return nil, fmt.Errorf("tag %q must be written KEY=VALUE", pair)
		}
		tags[pair[:i]] = pair[i+1:]
	}
	return tags, nil
}

func parseKeys(written []string) ([][]byte, error) {
	var keys [][]byte
	for _, w := range written {
		if strings.HasPrefix(w, "@") {
			content, err := os.ReadFile(w[1:])
			if err != nil {
				return nil, err
			}
			w = strings.TrimSpace(string(content))
		}
		key, err := hex.DecodeString(w)
		if err != nil || len(w) != 32 && len(w) != 48 && len(w) != 64 {
			key, err = base64.StdEncoding.DecodeString(w)
		}
		if err != nil {
			return nil, errors.New("a key must be hexadecimal or base64")
		}
		if err := memberlist.ValidateKey(key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func profile(name string) (*memberlist.Config, error) {
	switch name {
	case "lan":
		return memberlist.DefaultLANConfig(), nil
	case "wan":
		return memberlist.DefaultWANConfig(), nil
	case "local":
		return memberlist.DefaultLocalConfig(), nil
	}
	return nil, fmt.Errorf("--profile must be lan, wan or local, not %q", name)
}

func quit(status int, err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(status)
}

func must(err error) {
	if err != nil {
		quit(exitBadOptions, err)
	}
}

func main() {
	var join, tagPairs, keysWritten repeated
	name := flag.String("name", "", "the node's name (default: host:port)")
	bind := flag.String("bind", "127.0.0.1:7946", "HOST:PORT")
	profileName := flag.String("profile", "lan", "lan, wan or local")
	count := flag.Int("count", 1, "run so many nodes, NAME-0, NAME-1, .., on consecutive ports")
	flag.Bool("json", true, "JSON lines; there is no other form")
	flag.BoolVar(&showLog, "log", false, "memberlist's own log on standard error")
	flag.Var(&join, "join", "HOST:PORT[,HOST:PORT..], may be repeated")
	flag.Var(&tagPairs, "tag", "KEY=VALUE, may be repeated")
	flag.Var(&keysWritten, "key", "HEX, BASE64 or @FILE, may be repeated, the first is primary")
	flag.Parse()

	base, err := profile(*profileName)
	must(err)
	tags, err := parseTags(tagPairs)
	must(err)
	keys, err := parseKeys(keysWritten)
	must(err)
	host, portText, err := net.SplitHostPort(*bind)
	must(err)
	port, err := strconv.Atoi(portText)
	must(err)
	if flag.NArg() > 0 || *count < 1 {
		must(fmt.Errorf("unexpected arguments %q, or --count below 1", flag.Args()))
	}
	var seeds []string
	for _, list := range join {
		for _, seed := range strings.Split(list, ",") {
			if seed != "" {
				seeds = append(seeds, seed)
			}
		}
	}
	if *name == "" {
		*name = *bind
	}

	total := &traffic{}
	p := &process{out: newOutput(), ended: make(chan struct{})}
	for i := 0; i < *count; i++ {
		n := &node{name: *name, out: p.out, tags: tags}
		nodePort := port
		if *count > 1 {
			n.name = fmt.Sprintf("%s-%d", *name, i)
		}
		if port > 0 {
			nodePort += i
		}
		if err := n.start(base, host, nodePort, keys, total); err != nil {
			quit(exitCannotStart, err)
		}
		p.nodes = append(p.nodes, n)
		n.emit("bound", fields{"address": n.list.LocalNode().Address()})
	}
	for _, n := range p.nodes {
		go n.enter(seeds)
	}
	go p.reportStats(total)
	go p.readCommands()

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-signals:
		p.leaveAll()
	case <-p.ended:
	}
	p.out.finish()
}
