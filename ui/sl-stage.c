#include "ui/sl-stage.h"

#include "ui/sl-image-content.h"
#include "ui/sl-welcome.h"

#include <glib/gi18n.h>
#include <math.h>

struct _SlStage {
  AdwBin parent_instance;

  /* Borrowed from the template. */
  GtkStack *pages;
  SlCanvas *canvas;
  AdwStatusPage *no_model;
  AdwStatusPage *no_engine;
  GtkRevealer *caption_revealer;
  GtkStack *caption_pages;
  GtkLabel *caption;
  GtkLabel *summary;
  GtkLabel *status;
  GtkLabel *left;
  GtkProgressBar *progress;
  GtkButton *follow;
  GtkButton *reuse;
  GtkBox *zoom_box;
  GtkButton *zoom;
  GtkButton *zoom_in;
  GtkButton *zoom_out;

  SlSession *session;
  SlResult *shown;  /* on the canvas; NULL: the one being made */
  gboolean started; /* something was on the canvas */
  gboolean bare;
  guint realize_later; /* source id */
};

G_DEFINE_FINAL_TYPE (SlStage, sl_stage, ADW_TYPE_BIN)

SlCanvas *
sl_stage_get_canvas (SlStage *self)
{
  return self->canvas;
}

SlResult *
sl_stage_get_shown (SlStage *self)
{
  return self->shown;
}

const char *
sl_stage_get_page (SlStage *self)
{
  return gtk_stack_get_visible_child_name (self->pages);
}

static void
update_page (SlStage *self)
{
  const SlState state = sl_session_get_state (self->session);
  const char *page = "welcome";

  if (state == SL_STATE_NO_ENGINE)
    page = "no-engine";
  else if (self->started)
    page = "picture";
  else if (state == SL_STATE_NO_MODEL)
    page = "no-model";
  gtk_stack_set_visible_child_name (self->pages, page);
}

static void
update_caption (SlStage *self)
{
  const gboolean busy = sl_session_get_busy (self->session);
  const gboolean loading = sl_session_get_state (self->session) == SL_STATE_LOADING;
  const SlRecipe *recipe = self->shown ? sl_result_get_recipe (self->shown) : NULL;
  g_autofree char *summary = recipe ? sl_recipe_dup_summary (recipe) : g_strdup ("");
  const char *warning = self->shown ? sl_result_get_warning (self->shown) : NULL;

  gtk_revealer_set_reveal_child (self->caption_revealer,
                                 !self->bare && (busy || loading || self->shown));
  gtk_stack_set_visible_child_name (self->caption_pages, busy || loading ? "progress" : "picture");
  gtk_widget_set_visible (GTK_WIDGET (self->follow), busy && self->shown);
  gtk_widget_set_visible (GTK_WIDGET (self->reuse), !busy && !loading && self->shown);
  gtk_label_set_text (self->caption, recipe ? recipe->prompt : "");
  gtk_label_set_text (self->summary, warning ? warning : summary);
  gtk_widget_set_tooltip_text (GTK_WIDGET (self->caption), recipe ? recipe->prompt : NULL);
  gtk_accessible_update_property (GTK_ACCESSIBLE (self->canvas), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                  recipe ? recipe->prompt : _ ("The picture being made"), -1);
}

static char *
dup_status (SlStage *self)
{
  int step, n_steps, picture, n_pictures;

  g_object_get (self->session, "step", &step, "n-steps", &n_steps, "picture", &picture,
                "n-pictures", &n_pictures, NULL);
  /* One that was asked for while a picture is being made waits for it. */
  if (sl_session_get_state (self->session) == SL_STATE_LOADING && n_steps == 0)
    return g_strdup (_ ("Loading the model…"));
  if (n_pictures > 1 && n_steps > 0)
    /* Translators: picture 2 of 4, step 3 of 8 of it. */
    return g_strdup_printf (_ ("Picture %d of %d, step %d of %d"), picture, n_pictures, step,
                            n_steps);
  if (n_pictures > 1)
    return g_strdup_printf (_ ("Picture %d of %d"), picture, n_pictures);
  if (n_steps > 0 && step >= n_steps)
    return g_strdup (_ ("Finishing…"));
  if (n_steps > 0)
    return g_strdup_printf (_ ("Step %d of %d"), step, n_steps);
  return g_strdup (_ ("Reading the prompt…"));
}

static char *
dup_left (SlStage *self)
{
  double left;
  int seconds;

  g_object_get (self->session, "left", &left, NULL);
  if (left < 0)
    return g_strdup ("");
  seconds = (int) ceil (MIN (left, 359999));
  if (seconds < 60)
    return g_strdup_printf (ngettext ("%d second left", "%d seconds left", seconds), seconds);
  /* Translators: minutes and seconds. */
  return g_strdup_printf (_ ("%d:%02d left"), seconds / 60, seconds % 60);
}

static void
progress_cb (SlStage *self)
{
  g_autofree char *status = dup_status (self), *left = dup_left (self);
  double progress;

  g_object_get (self->session, "progress", &progress, NULL);
  gtk_progress_bar_set_fraction (self->progress, progress);
  gtk_label_set_text (self->status, status);
  gtk_label_set_text (self->left, left);
}

static void
state_cb (SlStage *self)
{
  if (sl_session_get_busy (self->session) && !self->started) {
    int width, height;

    sl_session_get_size (self->session, &width, &height);
    sl_canvas_show (self->canvas, NULL, width, height);
    self->started = TRUE;
  }
  /* A first run that showed nothing, or failed, leaves nothing half developed behind. */
  if (!sl_session_get_busy (self->session) && self->started && !self->shown &&
      !g_list_model_get_n_items (sl_session_get_results (self->session)) &&
      (!sl_canvas_get_has_picture (self->canvas) || sl_session_get_error (self->session))) {
    sl_canvas_show (self->canvas, NULL, 0, 0);
    self->started = FALSE;
  }
  update_page (self);
  update_caption (self);
  progress_cb (self);
}

static void
preview_cb (SlStage *self)
{
  GdkTexture *preview = sl_session_get_preview (self->session);
  int width, height;

  if (self->shown || !sl_session_get_has_preview (self->session))
    return;
  sl_session_get_size (self->session, &width, &height);
  if (preview)
    sl_canvas_show (self->canvas, preview, width, height);
  else if (sl_canvas_get_has_gl (self->canvas))
    sl_canvas_show_live (self->canvas, width, height);
}

static void
error_cb (SlStage *self)
{
  const char *error = sl_session_get_error (self->session);

  if (!error)
    return;
  if (sl_session_get_state (self->session) == SL_STATE_NO_ENGINE) {
    g_autofree char *escaped = g_markup_escape_text (error, -1);

    adw_status_page_set_description (self->no_engine, escaped);
  }
}

static void
scale_cb (SlStage *self)
{
  const double scale = sl_canvas_get_scale (self->canvas);
  g_autofree char *label = g_strdup_printf (_ ("%.0f %%"), scale * 100);

  gtk_button_set_label (self->zoom, label);
  gtk_actionable_set_action_name (GTK_ACTIONABLE (self->zoom), sl_canvas_get_zoom (self->canvas) > 0
                                                                   ? "win.zoom-fit"
                                                                   : "win.zoom-original");
  gtk_widget_set_tooltip_text (GTK_WIDGET (self->zoom), sl_canvas_get_zoom (self->canvas) > 0
                                                            ? _ ("Fit into the window (Ctrl+0)")
                                                            : _ ("Original size (Ctrl+1)"));
}

/* A first picture is enlarged on a worker, so it comes after everything else is told. */
static void
has_picture_cb (SlStage *self)
{
  gtk_widget_set_visible (GTK_WIDGET (self->zoom_box), sl_canvas_get_has_picture (self->canvas));
}

/* The canvas got or lost its context, or the engine is there. */
static void
view_cb (SlStage *self)
{
  SlGlView *view = sl_canvas_get_view (self->canvas);
  const gboolean gl = sl_canvas_get_has_gl (self->canvas);

  if (!self->session)
    return;
  sl_session_set_view (self->session, gl, gl ? sl_gl_view_get_name (view) : "GTK",
                       sl_gl_view_get_reason (view));
  if (gl)
    sl_gl_view_set_source (view, sl_session_get_gl_source (), self->session);
}

void
sl_stage_set_shown (SlStage *self, SlResult *result)
{
  g_return_if_fail (SL_IS_STAGE (self));

  if (!g_set_object (&self->shown, result))
    return;
  sl_canvas_compare (self->canvas, NULL);
  if (result) {
    self->started = TRUE;
    sl_canvas_show_picture (self->canvas, sl_result_get_texture (result));
  } else {
    preview_cb (self);
  }
  state_cb (self);
}

void
sl_stage_show_draft (SlStage *self, SlResult *draft)
{
  g_return_if_fail (SL_IS_STAGE (self) && !self->shown);

  self->started = TRUE;
  sl_canvas_show_picture (self->canvas, sl_result_get_texture (draft));
  update_page (self);
}

void
sl_stage_set_bare (SlStage *self, gboolean bare)
{
  self->bare = bare;
  update_caption (self);
}

void
sl_stage_set_narrow (SlStage *self, gboolean narrow)
{
  gtk_widget_set_visible (GTK_WIDGET (self->zoom_in), !narrow);
  gtk_widget_set_visible (GTK_WIDGET (self->zoom_out), !narrow);
  gtk_widget_set_visible (GTK_WIDGET (self->left), !narrow);
}

static void
example_cb (SlStage *self, const SlRecipe *recipe)
{
  gtk_widget_activate_action (GTK_WIDGET (self), "win.example", "(siibt)", recipe->prompt,
                              recipe->width, recipe->height, recipe->has_seed, recipe->seed);
}

static GdkContentProvider *
drag_prepare_cb (SlStage *self)
{
  /* A picture larger than the view is dragged about in it instead. */
  return self->shown && !sl_canvas_get_can_pan (self->canvas) &&
                 !sl_canvas_get_comparing (self->canvas)
             ? sl_image_content_new (self->shown, TRUE)
             : NULL;
}

static void
drag_begin_cb (SlStage *self, GdkDrag *drag, GtkDragSource *source)
{
  if (self->shown)
    gtk_drag_source_set_icon (source, GDK_PAINTABLE (sl_result_get_thumbnail (self->shown)), 0, 0);
}

/* The canvas is on a page that is not shown yet.  Making its OpenGL context takes a moment, which
 * the first picture shall not wait for. */
static gboolean
realize_later_cb (gpointer data)
{
  SlStage *self = data;

  self->realize_later = 0;
  if (gtk_widget_get_realized (GTK_WIDGET (self)))
    gtk_widget_realize (GTK_WIDGET (sl_canvas_get_view (self->canvas)));
  return G_SOURCE_REMOVE;
}

static void
sl_stage_map (GtkWidget *widget)
{
  SlStage *self = SL_STAGE (widget);

  GTK_WIDGET_CLASS (sl_stage_parent_class)->map (widget);
  if (!self->realize_later)
    self->realize_later = g_idle_add_full (G_PRIORITY_LOW, realize_later_cb, self, NULL);
}

void
sl_stage_bind (SlStage *self, SlSession *session)
{
  const struct {
    const char *signal;
    void (*callback) (SlStage *self);
  } watch[] = { { "notify::state", state_cb },       { "notify::busy", state_cb },
                { "notify::progress", progress_cb }, { "notify::picture", progress_cb },
                { "notify::preview", preview_cb },   { "notify::error", error_cb },
                { "notify::device-name", view_cb } };

  g_return_if_fail (SL_IS_STAGE (self) && !self->session);

  self->session = g_object_ref (session);
  g_signal_connect_swapped (self->canvas, "notify::has-gl", G_CALLBACK (view_cb), self);
  for (guint i = 0; i < G_N_ELEMENTS (watch); i++)
    g_signal_connect_object (session, watch[i].signal, G_CALLBACK (watch[i].callback), self,
                             G_CONNECT_SWAPPED);
  state_cb (self);
}

static void
sl_stage_dispose (GObject *object)
{
  SlStage *self = SL_STAGE (object);

  g_clear_handle_id (&self->realize_later, g_source_remove);
  g_clear_object (&self->shown);
  if (self->session && self->canvas)
    sl_gl_view_set_source (sl_canvas_get_view (self->canvas), NULL, NULL);
  g_clear_object (&self->session);

  G_OBJECT_CLASS (sl_stage_parent_class)->dispose (object);
}

static void
sl_stage_class_init (SlStageClass *klass)
{
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);

  G_OBJECT_CLASS (klass)->dispose = sl_stage_dispose;
  widget_class->map = sl_stage_map;

  g_type_ensure (SL_TYPE_CANVAS);
  g_type_ensure (SL_TYPE_WELCOME);
  gtk_widget_class_set_template_from_resource (widget_class,
                                               "/io/github/safelight/Safelight/sl-stage.ui");
  gtk_widget_class_bind_template_child (widget_class, SlStage, pages);
  gtk_widget_class_bind_template_child (widget_class, SlStage, canvas);
  gtk_widget_class_bind_template_child (widget_class, SlStage, no_model);
  gtk_widget_class_bind_template_child (widget_class, SlStage, no_engine);
  gtk_widget_class_bind_template_child (widget_class, SlStage, caption_revealer);
  gtk_widget_class_bind_template_child (widget_class, SlStage, caption_pages);
  gtk_widget_class_bind_template_child (widget_class, SlStage, caption);
  gtk_widget_class_bind_template_child (widget_class, SlStage, summary);
  gtk_widget_class_bind_template_child (widget_class, SlStage, status);
  gtk_widget_class_bind_template_child (widget_class, SlStage, left);
  gtk_widget_class_bind_template_child (widget_class, SlStage, progress);
  gtk_widget_class_bind_template_child (widget_class, SlStage, follow);
  gtk_widget_class_bind_template_child (widget_class, SlStage, reuse);
  gtk_widget_class_bind_template_child (widget_class, SlStage, zoom_box);
  gtk_widget_class_bind_template_child (widget_class, SlStage, zoom);
  gtk_widget_class_bind_template_child (widget_class, SlStage, zoom_in);
  gtk_widget_class_bind_template_child (widget_class, SlStage, zoom_out);
  gtk_widget_class_bind_template_callback (widget_class, scale_cb);
  gtk_widget_class_bind_template_callback (widget_class, has_picture_cb);
  gtk_widget_class_bind_template_callback (widget_class, example_cb);
  gtk_widget_class_bind_template_callback (widget_class, drag_prepare_cb);
  gtk_widget_class_bind_template_callback (widget_class, drag_begin_cb);
}

static void
sl_stage_init (SlStage *self)
{
  gtk_widget_init_template (GTK_WIDGET (self));
  has_picture_cb (self);
}
