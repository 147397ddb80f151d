/* ui/sl-window-private.h - between the source files of SlWindow. */
#pragma once

#include "ui/sl-live.h"
#include "ui/sl-sidebar.h"
#include "ui/sl-stage.h"
#include "ui/sl-strip.h"
#include "ui/sl-timing-panel.h"
#include "ui/sl-window.h"

struct _SlWindow {
  AdwApplicationWindow parent_instance;

  /* Borrowed from the template. */
  AdwFlap *flap;
  SlSidebar *sidebar;
  AdwHeaderBar *header;
  AdwWindowTitle *title;
  GtkButton *generate;
  GtkButton *copy;
  GtkToggleButton *timing_button;
  GtkInfoBar *error_bar;
  GtkLabel *error_label;
  AdwToastOverlay *toasts;
  SlStage *stage;
  GtkRevealer *strip_revealer;
  SlStrip *strip;
  GtkPaned *paned;
  SlTimingPanel *timing;
  GMenu *preview_menu;

  SlSession *session;
  GSettings *settings;           /* delayed; shared by every part */
  guint apply_later;             /* source id: settings go to the disk a moment after a change */
  GtkFileChooserNative *chooser; /* the one that is open, if any */
  gboolean follow;               /* the newest picture is shown as it comes */
  gboolean selecting;            /* the selection changes by us, not by hand */
  guint n_made;                  /* pictures since the run began */
  gboolean told;                 /* that the oldest pictures go */
  guint inhibit;                 /* cookie; 0: none */
  gboolean sidebar_before;       /* full screen */
  guint timing_later;            /* source id */
  gboolean timing_unplaced;      /* the panel has no height yet */
  sl_live *live;
};

/* sl-window-files.c */
void sl_window_install_file_actions (GtkWidgetClass *widget_class);
void sl_window_add_drop_target (SlWindow *self);
void sl_window_load_model (SlWindow *self, const char *path);

/* sl-window-live.c */
void sl_window_install_live_actions (GtkWidgetClass *widget_class);
void sl_window_bind_live (SlWindow *self);
/* A run ended without the picture that was to be shown: what could be seen of it stays, unfinished;
 * when it failed, back to the last finished one, if there is one. */
void sl_window_keep_or_go_back (SlWindow *self);
gboolean sl_window_can_compare (SlWindow *self);

/* sl-window.c */
void sl_window_show_result (SlWindow *self, SlResult *result); /* NULL: the one being made */
/* A picture's settings become the next picture's. */
void sl_window_take_settings (SlWindow *self, const SlRecipe *recipe);

/* sl-window-timing.c */
void sl_window_bind_timing (SlWindow *self);
void sl_window_update_timing (SlWindow *self);   /* what there is room for */
void sl_window_remember_timing (SlWindow *self); /* its height */

/* sl-window-dialogs.c */
void sl_window_offer_settings (SlWindow *self, const SlRecipe *recipe);
void sl_window_show_error_details (SlWindow *self);
