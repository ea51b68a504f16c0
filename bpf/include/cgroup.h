/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Which of a task's control groups says most about it. */
#ifndef GYRE_CGROUP_H
#define GYRE_CGROUP_H

#define ROOT_CGROUP_ID 1 /* the root of a hierarchy is made first */
#define CGROUP_V1_MEMORY (1ULL << 63)
#define CGROUP_V1_PIDS (1ULL << 62)

static __always_inline struct kernfs_node *kn_parent(struct kernfs_node *kn)
{
	struct kernfs_node___v615 *new = (void *)kn;

	if (bpf_core_field_exists(new->__parent))
		return BPF_CORE_READ(new, __parent);
	return BPF_CORE_READ(kn, parent);
}

#define V1_NODE(set, id)                                                                                       \
	({                                                                                                     \
		struct cgroup_subsys_state *css = 0;                                                           \
		if (bpf_core_enum_value_exists(enum cgroup_subsys_id, id))                                     \
			bpf_core_read(&css, sizeof(css),                                                       \
				      (void *)(set) + bpf_core_field_offset(struct css_set, subsys) +          \
					      8 * bpf_core_enum_value(enum cgroup_subsys_id, id));             \
		css ? BPF_CORE_READ(css, cgroup, kn) : 0;                                                      \
	})

/*
 * The task's group in the v2 hierarchy unless that is the root, else in those of the v1
 * controllers that container runtimes use. hierarchy tells ids of different ones apart.
 */
static __always_inline struct kernfs_node *cgroup_of(struct task_struct *task, u64 *hierarchy)
{
	struct css_set *set = task->cgroups;
	struct kernfs_node *root = set->dfl_cgrp->kn, *kn;

	*hierarchy = 0;
	if (root && kn_parent(root))
		return root;
	kn = V1_NODE(set, memory_cgrp_id);
	if (kn && kn_parent(kn)) {
		*hierarchy = CGROUP_V1_MEMORY;
		return kn;
	}
	kn = V1_NODE(set, pids_cgrp_id);
	if (kn && kn_parent(kn)) {
		*hierarchy = CGROUP_V1_PIDS;
		return kn;
	}
	return root;
}

static __always_inline u64 cgroup_id_of(struct task_struct *task)
{
	u64 hierarchy;
	struct kernfs_node *kn = cgroup_of(task, &hierarchy);

	return kn ? BPF_CORE_READ(kn, id) | hierarchy : 0;
}

#endif
