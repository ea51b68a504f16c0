/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Which of a task's control groups says most about it. */
#ifndef GYRE_CGROUP_H
#define GYRE_CGROUP_H

#include "load.h"

#define ROOT_CGROUP_ID 1 /* the root of a hierarchy is made first */
#define CGROUP_V1_MEMORY (1ULL << 63)
#define CGROUP_V1_PIDS (1ULL << 62)

static __always_inline struct kernfs_node *kn_parent(struct kernfs_node *kn)
{
	if (bpf_core_field_exists(struct kernfs_node___v615, __parent))
		return LOAD(struct kernfs_node___v615, kn, __parent);
	return LOAD(struct kernfs_node, kn, parent);
}

/* The group of a v1 controller, 0 if this kernel has not the controller. */
#define V1_NODE(set, id)                                                                                                     \
	({                                                                                                                   \
		struct kernfs_node *kn_ = 0;                                                                                 \
                                                                                                                             \
		if (bpf_core_enum_value_exists(enum cgroup_subsys_id, id)) {                                                 \
			struct cgroup_subsys_state **at_ = (void *)(set) + bpf_core_field_offset(struct css_set, subsys) +   \
							   8 * bpf_core_enum_value(enum cgroup_subsys_id, id), *css_ = 0;    \
			bpf_core_read(&css_, sizeof(css_), at_);                                                             \
			if (css_)                                                                                            \
				kn_ = LOAD(struct cgroup, LOAD(struct cgroup_subsys_state, css_, cgroup), kn);               \
		}                                                                                                            \
		kn_;                                                                                                         \
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

	return kn ? LOAD(struct kernfs_node, kn, id) | hierarchy : 0;
}

#endif
