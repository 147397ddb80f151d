#include "ui/sl-live.h"

#define PAUSE_MS 80 /* without a change, before a draft */
#define REST_MS 450 /* after the draft, before the picture */

struct sl_live {
  SlSession *session;
  GSettings *settings;
  void (*starting) (gpointer data);
  gpointer data;

  gboolean dirty;  /* something changed since the last picture was asked for */
  gboolean drafts; /* what was asked for last is a draft */
  guint later;     /* source id */
};

static void
start (sl_live *self)
{
  g_autoptr (SlRecipe) recipe = sl_recipe_new_from_settings (self->settings);
  const gboolean draft = self->dirty && recipe->steps > SL_LIVE_DRAFT_STEPS;

  if (sl_session_get_state (self->session) != SL_STATE_READY)
    return;
  self->dirty = FALSE;
  self->drafts = draft;
  self->starting (self->data);
  if (!draft) {
    sl_session_generate (self->session, recipe, 1);
    return;
  }
  recipe->steps = SL_LIVE_DRAFT_STEPS;
  sl_session_generate_draft (self->session, recipe);
}

static gboolean
later_cb (gpointer data)
{
  sl_live *self = data;

  self->later = 0;
  /* What was cancelled may take a moment to end: then it begins when that is over. */
  if (!sl_session_get_busy (self->session))
    start (self);
  return G_SOURCE_REMOVE;
}

static void
arm (sl_live *self, guint ms)
{
  g_clear_handle_id (&self->later, g_source_remove);
  self->later = g_timeout_add (ms, later_cb, self);
}

static void
changed_cb (sl_live *self, const char *key)
{
  static const char *const keys[] = { "prompt", "negative", "width",   "height",   "steps",
                                      "cfg",    "seed",     "sampler", "schedule", "rng",
                                      "shift",  "live",     NULL };

  if (!g_strv_contains (keys, key))
    return;
  if (!sl_live_get_on (self)) {
    g_clear_handle_id (&self->later, g_source_remove);
    return;
  }
  self->dirty = TRUE;
  sl_session_cancel (self->session);
  arm (self, PAUSE_MS);
}

static void
busy_cb (sl_live *self)
{
  if (!sl_live_get_on (self) || sl_session_get_busy (self->session) || self->later)
    return;
  if (self->dirty)
    arm (self, 0);
  else if (self->drafts && !sl_session_get_error (self->session))
    arm (self, REST_MS);
}

sl_live *
sl_live_new (SlSession *session, GSettings *settings, void (*starting) (gpointer data),
             gpointer data)
{
  sl_live *self = g_new0 (sl_live, 1);

  self->session = g_object_ref (session);
  self->settings = g_object_ref (settings);
  self->starting = starting;
  self->data = data;
  g_signal_connect_swapped (settings, "changed", G_CALLBACK (changed_cb), self);
  g_signal_connect_swapped (session, "notify::busy", G_CALLBACK (busy_cb), self);
  return self;
}

void
sl_live_free (sl_live *self)
{
  g_clear_handle_id (&self->later, g_source_remove);
  g_signal_handlers_disconnect_by_data (self->settings, self);
  g_signal_handlers_disconnect_by_data (self->session, self);
  g_object_unref (self->settings);
  g_object_unref (self->session);
  g_free (self);
}

gboolean
sl_live_get_on (sl_live *self)
{
  return g_settings_get_boolean (self->settings, "live");
}
