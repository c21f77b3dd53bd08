/* The pruned difference of two trees, in key order.
 *
 * Two cursors move through the trees. The head of each is an item, or a subtree that has not been
 * looked into: its pointer and a key below which it holds nothing. Subtrees with the same pointer
 * at both heads hold the same items and are skipped unread; since nodes are shared by all
 * descendants of a state, that makes the cost proportional to what differs. Of two different
 * subtrees the one that begins earlier is entered, at equal keys the higher one: so an equal
 * subtree further on in one tree is still met as a whole by the other.
 *
 * Between two calls nodes may be evicted; cursors keep pointers and bounds. A change of a tree
 * while its diff is open is noticed (AFFS_E_INVALID).
 */
#include <stdlib.h>

#include "memory.h"
#include "tree_private.h"

typedef struct {
    affs_pointer pointer;
    affs_key high;
    bool bounded; /* high is set */
    unsigned index; /* of the head */
    unsigned count;
} frame;

typedef struct {
    affs_tree *tree;
    uint64_t version;
    bool at_root; /* the root is the head */
    unsigned depth;
    frame frames[AFFS_LEVELS_MAX];
} cursor;

enum head_kind { END, SUBTREE, ITEM };

typedef struct head {
    enum head_kind kind;
    affs_key low; /* an item's key; a subtree's lowest possible one */
    affs_pointer pointer;
    affs_key high;
    bool bounded;
    const uint8_t *payload;
    uint32_t length;
} head;

struct affs_diff {
    affs_cache *cache;
    affs_pointer missing;
    cursor a;
    cursor b;
};

static cursor cursor_of(affs_tree *tree)
{
    return (cursor){
        .tree = tree, .version = tree->version, .at_root = !affs_pointer_empty(&tree->root)};
}

affs_diff *affs_diff_new(affs_tree *a, affs_tree *b)
{
    if (a->cache != b->cache || a->kind != b->kind)
        return NULL;
    affs_diff *diff = affs_memory_zeroed(1, sizeof *diff);
    if (!diff)
        return NULL;
    diff->cache = a->cache;
    diff->a = cursor_of(a);
    diff->b = cursor_of(b);
    affs_tree_hold(a);
    affs_tree_hold(b);
    return diff;
}

void affs_diff_free(affs_diff *diff)
{
    if (!diff)
        return;
    affs_tree_release(diff->a.tree);
    affs_tree_release(diff->b.tree);
    free(diff);
}

void affs_diff_missing(const affs_diff *diff, affs_pointer *pointer)
{
    *pointer = diff->missing;
}

static int fetch(affs_diff *diff, const affs_pointer *pointer, affs_node **node)
{
    int result = affs_cache_fetch(diff->cache, pointer, node);
    if (result == AFFS_R_MISSING)
        diff->missing = *pointer;
    return result;
}

/* The root's lowest key is its first one: known only from the node itself. */
static int root_head(affs_diff *diff, const cursor *cursor, head *head)
{
    affs_node *root;
    *head = (struct head){.kind = SUBTREE, .pointer = cursor->tree->root};
    int result = fetch(diff, &head->pointer, &root);
    if (result != AFFS_OK)
        return result;
    head->pointer.level = root->image.header.level;
    if (affs_node_count(root) > 0)
        head->low = affs_node_first_key(root);
    return AFFS_OK;
}

static int find_head(affs_diff *diff, cursor *cursor, head *head)
{
    if (cursor->at_root)
        return root_head(diff, cursor, head);
    while (cursor->depth > 0 &&
           cursor->frames[cursor->depth - 1].index == cursor->frames[cursor->depth - 1].count)
        cursor->depth--;
    *head = (struct head){.kind = END};
    if (cursor->depth == 0)
        return AFFS_OK;

    const frame *top = &cursor->frames[cursor->depth - 1];
    affs_node *node;
    int result = fetch(diff, &top->pointer, &node);
    if (result != AFFS_OK)
        return result;
    if (node->image.header.level == 0) {
        const affs_slot *slot = &node->image.leaf.slots[top->index];
        head->kind = ITEM;
        head->low = affs_slot_key(slot);
        head->payload = node->image.bytes + slot->data_offset;
        head->length = slot->data_length;
        return AFFS_OK;
    }
    const affs_entry *entry = &node->image.inner.entries[top->index];
    const bool last = top->index + 1 == top->count;
    head->kind = SUBTREE;
    head->low = entry->key;
    head->pointer = entry->child;
    head->bounded = !last || top->bounded;
    head->high = last ? top->high : entry[1].key;
    return AFFS_OK;
}

static void skip(cursor *cursor)
{
    if (cursor->at_root)
        cursor->at_root = false;
    else
        cursor->frames[cursor->depth - 1].index++;
}

/* Replace a subtree at the head by what is in it. */
static int descend(affs_diff *diff, cursor *cursor, const head *head)
{
    affs_node *node;
    int result = fetch(diff, &head->pointer, &node);
    if (result == AFFS_OK && !cursor->at_root)
        result = affs_child_check(node, head->pointer.level, &head->low,
                                  head->bounded ? &head->high : NULL);
    if (result != AFFS_OK)
        return result;
    skip(cursor);
    cursor->frames[cursor->depth++] = (frame){.pointer = head->pointer,
                                              .high = head->high,
                                              .bounded = head->bounded,
                                              .count = affs_node_count(node)};
    return AFFS_OK;
}

static int emit_node(affs_diff *diff, cursor *cursor, const head *head, int kind,
                     affs_diff_event *event)
{
    int result = descend(diff, cursor, head);
    if (result == AFFS_OK)
        *event = (affs_diff_event){.kind = kind, .key = head->low, .node = head->pointer};
    return result;
}

static int emit_only(cursor *cursor, const head *head, int kind, affs_diff_event *event)
{
    *event = (affs_diff_event){.kind = kind, .key = head->low};
    if (kind == AFFS_DIFF_ONLY_A) {
        event->a_payload = head->payload;
        event->a_length = head->length;
    } else {
        event->b_payload = head->payload;
        event->b_length = head->length;
    }
    skip(cursor);
    return AFFS_OK;
}

/* Which head goes first: negative a, positive b, 0 both are items with one key. */
static int order(const head *a, const head *b)
{
    if (a->kind == END || b->kind == END)
        return a->kind == END ? 1 : -1;
    int compared = affs_key_compare(&a->low, &b->low);
    if (compared != 0)
        return compared;
    if (a->kind == SUBTREE && b->kind == SUBTREE)
        return a->pointer.level >= b->pointer.level ? -1 : 1;
    if (a->kind == b->kind)
        return 0;
    return a->kind == SUBTREE ? -1 : 1;
}

int affs_diff_next(affs_diff *diff, affs_diff_event *event)
{
    if (diff->a.version != diff->a.tree->version || diff->b.version != diff->b.tree->version)
        return AFFS_E_INVALID;
    if (diff->a.at_root && diff->b.at_root &&
        affs_pointer_same(&diff->a.tree->root, &diff->b.tree->root))
        return AFFS_R_END;
    for (;;) {
        head a, b;
        int result = find_head(diff, &diff->a, &a);
        if (result == AFFS_OK)
            result = find_head(diff, &diff->b, &b);
        if (result != AFFS_OK)
            return result;
        if (a.kind == END && b.kind == END)
            return AFFS_R_END;
        if (a.kind == SUBTREE && b.kind == SUBTREE && affs_pointer_same(&a.pointer, &b.pointer)) {
            skip(&diff->a);
            skip(&diff->b);
            continue;
        }
        int first = order(&a, &b);
        if (first < 0 && a.kind == SUBTREE)
            return emit_node(diff, &diff->a, &a, AFFS_DIFF_NODE_A, event);
        if (first > 0 && b.kind == SUBTREE)
            return emit_node(diff, &diff->b, &b, AFFS_DIFF_NODE_B, event);
        if (first < 0)
            return emit_only(&diff->a, &a, AFFS_DIFF_ONLY_A, event);
        if (first > 0)
            return emit_only(&diff->b, &b, AFFS_DIFF_ONLY_B, event);
        skip(&diff->a);
        skip(&diff->b);
        if (a.length == b.length && (a.length == 0 || memcmp(a.payload, b.payload, a.length) == 0))
            continue;
        *event = (affs_diff_event){.kind = AFFS_DIFF_CHANGED,
                                   .key = a.low,
                                   .a_payload = a.payload,
                                   .a_length = a.length,
                                   .b_payload = b.payload,
                                   .b_length = b.length};
        return AFFS_OK;
    }
}
