package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"consentpipeline.io/api/v1alpha1"
	"consentpipeline.io/internal/report"
	"consentpipeline.io/operator"
)

func newLogsCommand(k *kube) *cobra.Command {
	var follow bool
	var number int64
	cmd := &cobra.Command{
		Use:   "logs NAME [ENTRY]",
		Short: "Show the logs of the pods of a run, each line with its entry",
		Long: `logs shows the logs of the run in progress, or else of the last run, or of the run that --run names: those of all
entries, one after the other, or of one entry. With --follow it shows the lines of all pods as they are written, also of
those that start later, until the run has ended.

The logs of a run exist as long as its Job: spec.history of the pipeline says how many Jobs are kept.`,
		Args:              pipelineArgs(1),
		ValidArgsFunction: k.completeNames(true),
		RunE: k.withPipeline(func(ctx context.Context, p *v1alpha1.ConsentPipeline, more []string) error {
			if k.format != "table" {
				return badConfiguration("--output %s: the lines of logs have no other format: omit --output", k.format)
			}
			entry, number, err := entryAndRun(p, more, number)
			if err != nil {
				return err
			}
			pods, err := corev1client.NewForConfig(k.config)
			if err != nil {
				return err
			}
			l := &runLogs{kube: k, pods: pods.Pods(k.namespace), name: p.Name, run: number, entry: entry}
			if follow && p.Status.CurrentRun != nil && p.Status.CurrentRun.Number == number {
				return l.follow(ctx)
			}
			return l.show(ctx)
		}),
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "show new lines until the run has ended")
	cmd.Flags().Int64Var(&number, "run", 0, "the `number` of the run (default: the one in progress, or else the last one)")
	return cmd
}

// entryAndRun are the entry that an argument names, if there is one, and the number of the run that --run names, or else the
// latest.
func entryAndRun(p *v1alpha1.ConsentPipeline, args []string, number int64) (string, int64, error) {
	entry, err := entryIn(p, args)
	if err == nil && number == 0 {
		number, err = latestRun(p, entry)
	}
	return entry, number, err
}

// latestRun is the number of the run in progress, or else of the last run; of an entry, that which its status is from.
func latestRun(p *v1alpha1.ConsentPipeline, entry string) (int64, error) {
	for _, f := range p.Status.Files {
		if f.Path == entry {
			return f.Run, nil
		}
	}
	switch {
	case p.Status.CurrentRun != nil:
		return p.Status.CurrentRun.Number, nil
	case p.Status.LastRun != nil:
		return p.Status.LastRun.Number, nil
	}
	return 0, report.New(report.TryAgain, fmt.Errorf("no run of %s has started yet: %s", p.Name, readyOf(p).Message))
}

// runLogs shows the logs of a run.
type runLogs struct {
	*kube
	pods  corev1client.PodInterface
	name  string // of the pipeline
	run   int64
	entry string // of which logs are shown; empty for all

	mutex sync.Mutex // keeps lines of several pods apart
}

func (l *runLogs) labels() client.MatchingLabels {
	return client.MatchingLabels{
		v1alpha1.LabelPipeline: l.name, v1alpha1.LabelRun: strconv.FormatInt(l.run, 10), v1alpha1.LabelJob: v1alpha1.JobIngest,
	}
}

// list lists the pods of the run, in the order of the entries; of one entry, in the order of their creation.
func (l *runLogs) list(ctx context.Context) ([]corev1.Pod, error) {
	list := &corev1.PodList{}
	if err := l.List(ctx, list, client.InNamespace(l.namespace), l.labels()); err != nil {
		return nil, l.explain(fmt.Sprintf("list the pods of run %d", l.run), err)
	}
	slices.SortStableFunc(list.Items, func(a, b corev1.Pod) int {
		first, _ := operator.ShareOf(&a)
		second, _ := operator.ShareOf(&b)
		return cmp.Or(cmp.Compare(first.Index, second.Index), a.CreationTimestamp.Compare(b.CreationTimestamp.Time))
	})
	return list.Items, nil
}

// errNoPods is the error for a run without pods.
func (l *runLogs) errNoPods() error {
	return report.New(report.TryAgain, fmt.Errorf("run %d of %s has no pods: its Job has not created them yet, or it was deleted "+
		"(spec.history says how many finished Jobs are kept); `consent status %[2]s-%[1]d` shows what the ledger has of it", l.run, l.name))
}

// selects reports whether the logs of a pod are shown.
func (l *runLogs) selects(pod *corev1.Pod) bool {
	share, _ := operator.ShareOf(pod)
	return l.entry == "" || share.Entry == l.entry
}

func (l *runLogs) show(ctx context.Context) error {
	pods, err := l.list(ctx)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return l.errNoPods()
	}
	for i := range pods {
		switch {
		case !l.selects(&pods[i]):
		case !hasLog(&pods[i]):
			fmt.Fprintf(l.stderr, "%s: the pod %s has not started: kubectl describe pod -n %s %[2]s\n", prefix(&pods[i]), pods[i].Name, l.namespace)
		default:
			if err := l.copy(ctx, &pods[i], false); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow copies the logs of all pods at the same time, until the run has ended.
func (l *runLogs) follow(ctx context.Context) error {
	seen := map[string]bool{}
	var streams errgroup.Group
	start := func(pod *corev1.Pod) {
		if !seen[pod.Name] && l.selects(pod) && hasLog(pod) {
			seen[pod.Name] = true
			streams.Go(func() error { return l.copy(ctx, pod, true) })
		}
	}
	// 1. Start a stream for each pod that has started, until the run has ended.
	running, ended := context.WithCancel(ctx)
	watched := make(chan error, 1)
	go func() {
		watched <- l.watchUntil(running, &corev1.PodList{}, func(event watch.Event) (bool, error) {
			if pod, is := event.Object.(*corev1.Pod); is && event.Type != watch.Deleted {
				start(pod)
			}
			return false, nil
		}, client.InNamespace(l.namespace), l.labels())
	}()
	quiet := *l.kube
	quiet.app = &app{stderr: io.Discard}
	_, err := quiet.follow(ctx, l.name, 0, func(p *v1alpha1.ConsentPipeline) bool {
		return p.Status.CurrentRun == nil || p.Status.CurrentRun.Number != l.run
	})
	ended()
	if watchErr := <-watched; err == nil && running.Err() == nil {
		err = watchErr
	}
	// 2. Show pods that started and ended unseen, such as those of a quick run.
	if err == nil {
		var pods []corev1.Pod
		if pods, err = l.list(ctx); err == nil {
			for i := range pods {
				start(&pods[i])
			}
			if len(pods) == 0 && len(seen) == 0 {
				err = l.errNoPods()
			}
		}
	}
	return cmp.Or(err, streams.Wait())
}

// hasLog reports whether the container of a pod has started.
func hasLog(pod *corev1.Pod) bool {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == v1alpha1.JobIngest {
			return status.State.Running != nil || status.State.Terminated != nil
		}
	}
	return false
}

// copy writes each line of a pod's log with the entry before it.
func (l *runLogs) copy(ctx context.Context, pod *corev1.Pod, follow bool) error {
	log, err := l.pods.GetLogs(pod.Name, &corev1.PodLogOptions{Container: v1alpha1.JobIngest, Follow: follow}).Stream(ctx)
	if apierrors.IsNotFound(err) {
		fmt.Fprintf(l.stderr, "%s: the pod %s was deleted, and its log with it\n", prefix(pod), pod.Name)
		return nil
	}
	if err != nil {
		return l.explain("read the log of the pod "+pod.Name, err)
	}
	defer log.Close()
	reader, before := bufio.NewReader(log), prefix(pod)+" "
	for {
		line, err := reader.ReadString('\n')
		if line != "" {
			l.mutex.Lock()
			_, writeErr := io.WriteString(l.stdout, before+strings.TrimSuffix(line, "\n")+"\n")
			l.mutex.Unlock()
			if writeErr != nil {
				return writeErr
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return l.explain("read the log of the pod "+pod.Name, err)
		}
	}
}

// prefix names the entry of a pod, and its shard if it has several.
func prefix(pod *corev1.Pod) string {
	share, known := operator.ShareOf(pod)
	switch {
	case !known:
		return "[" + pod.Name + "]"
	case share.Shards > 1:
		return fmt.Sprintf("[%s %d/%d]", printable(share.Entry), share.Shard, share.Shards)
	}
	return "[" + printable(share.Entry) + "]"
}

// printable escapes the control characters that a path may have.
func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strings.Trim(strconv.Quote(text), `"`)
	}
	return text
}
