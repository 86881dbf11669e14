package ikev2

import (
	"time"

	"cygnet/internal/ike"
	"cygnet/internal/ikev2/wire"
)

// task is an exchange of ours in an established IKE SA. One is active at a
// time; the others wait in line. What a task does ends with s.finish or with
// another request.
type task interface {
	// begin sends the request, or first starts the job that it needs.
	begin(s *step)
	// answer takes the verified response.
	answer(s *step, ps wire.Payloads)
	// abandon is called instead of answer, or of begin, when there will be no
	// answer: the IKE SA ended, or the response was unreadable. It may not
	// begin anything.
	abandon(s *step, why *ike.Failure)
}

// waiting is a task in line; after says when it may begin.
type waiting struct {
	task  task
	after time.Time
}

// queue puts a task at the end of the line.
func (s *step) queue(t task) {
	if len(s.tasks) >= maxTasks {
		t.abandon(s, &ike.Failure{Reason: ike.ReasonOther, Why: "too many exchanges are waiting for this IKE SA"})
		return
	}
	s.tasks = append(s.tasks, waiting{task: t})
}

// later puts the active task back in line, to try again after a while.
func (s *step) later(t task, tries int) {
	wait := min(retryFirst<<min(tries, 8), retryMax)
	s.active = nil
	s.tasks = append(s.tasks, waiting{t, s.now.Add(s.jitter(wait))})
}

// settle begins the next task when nothing is under way. It is the last thing
// every Step does.
func (s *step) settle() {
	for s.active == nil && s.win.pending == nil && s.mayBegin() {
		i := s.due()
		if i < 0 {
			return
		}
		t := s.tasks[i].task
		s.tasks = append(s.tasks[:i:i], s.tasks[i+1:]...)
		s.active = t
		t.begin(s)
	}
}

// mayBegin reports whether requests may be sent. While the peer's rekeying of
// the IKE SA is being worked on they wait for its successor.
func (s *step) mayBegin() bool { return s.established() && !s.peerRekeys }

// due is the index of the first task whose time has come, -1 if there is none.
func (s *step) due() int {
	for i, w := range s.tasks {
		if !w.after.After(s.now) {
			return i
		}
	}
	return -1
}

// finish ends the active task.
func (s *step) finish(t task) {
	if s.active == t {
		s.active = nil
	}
}

// taskResponse hands a response to the task that asked.
func (s *step) taskResponse(in inbound) {
	if s.active != nil {
		s.active.answer(s, in.Payloads)
	}
}

// abandonTasks ends all tasks, the active one first.
func (s *step) abandonTasks(why *ike.Failure) {
	all := s.tasks
	if s.active != nil {
		all = append([]waiting{{task: s.active}}, all...)
	}
	s.active, s.tasks = nil, nil
	for _, w := range all {
		w.task.abandon(s, why)
	}
}
